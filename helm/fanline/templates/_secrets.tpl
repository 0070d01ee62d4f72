{{/* What the gateway reads from files of their own: which key, which file, of which Secret. */}}

{{- define "fanline.filesAt" -}}/run/secrets/fanline{{- end }}

{{/* A list of {section, key, file, secret, item}, as JSON. */}}
{{- define "fanline.files" -}}
{{- $files := list }}
{{- $created := include "fanline.fullname" . }}
{{- $config := .Values.config }}
{{- range $name, $setting := dict "apiKeys" "internal.api_keys" "redisUrl" "redis.url" "redisPassword" "redis.password" "redisSentinelPassword" "redis.sentinel_password" }}
{{- $given := index $.Values.secrets $name }}
{{- $section := splitList "." $setting | first }}
{{- $key := splitList "." $setting | last }}
{{- $secret := default (ternary $created "" (not (empty $given.value))) $given.existingSecret }}
{{- if and (eq $name "apiKeys") (include "fanline.makesApiKey" $) }}{{ $secret = $created }}{{ end }}
{{- $item := $given.key }}
{{- if and (eq $name "redisPassword") $.Values.trialRedis.enabled }}
{{- $secret = printf "%s-redis" $created }}{{ $item = "password" }}
{{- end }}
{{- if $secret }}
{{- $files = append $files (dict "section" $section "key" (printf "%s_file" $key) "file" (printf "%s_%s" $section $key) "secret" (tpl $secret $) "item" $item) }}
{{- end }}
{{- end }}
{{- range $key := list "ca" "cert" "key" }}
{{- $item := index $.Values.redisTls $key }}
{{- if and $.Values.redisTls.existingSecret $item }}
{{- $files = append $files (dict "section" "redis" "key" $key "file" (printf "redis_%s.pem" $key) "secret" (tpl $.Values.redisTls.existingSecret $) "item" $item) }}
{{- end }}
{{- end }}
{{- toJson $files }}
{{- end }}

{{/* Nobody gave a key, and /api must not be left without one: the listener is no loopback in a pod. */}}
{{- define "fanline.makesApiKey" -}}
{{- with .Values.secrets.apiKeys }}
{{- if not (or .value .existingSecret (dig "internal" "api_keys_file" "" $.Values.config)) }}yes{{ end }}
{{- end }}
{{- end }}

{{/* (list root name-suffix item): what stands in a Secret of ours that exists, so that an upgrade keeps it. */}}
{{- define "fanline.kept" -}}
{{- $root := first . }}
{{- $secret := lookup "v1" "Secret" $root.Release.Namespace (printf "%s%s" (include "fanline.fullname" $root) (index . 1)) | default dict }}
{{- dig "data" (last .) "" $secret | b64dec }}
{{- end }}
