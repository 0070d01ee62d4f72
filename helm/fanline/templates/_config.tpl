{{/* The gateway's configuration: the values' own, and what the chart adds. */}}

{{/* As JSON. Null takes a key away. */}}
{{- define "fanline.config" -}}
{{- $config := deepCopy .Values.config }}
{{- range include "fanline.files" . | fromJsonArray }}
{{- $_ := set (index $config .section) .key (printf "%s/%s" (include "fanline.filesAt" $) .file) }}
{{- end }}
{{- if .Values.trialRedis.enabled }}
{{- $_ := set $config.redis "url" (printf "redis://%s-redis:6379" (include "fanline.fullname" .)) }}
{{- end }}
{{- if not $config.redis.url }}{{ $_ := unset $config.redis "url" }}{{ end }}
{{- toJson $config }}
{{- end }}

{{/* TOML of it. Not by toToml, which writes whole numbers of YAML as floats. */}}
{{- define "fanline.toml" -}}
{{- range $section, $content := . }}
{{- if kindIs "slice" $content }}
{{- range $content }}
[[{{ $section }}]]
{{ include "fanline.toml.keys" . }}
{{- end }}
{{- else if $content }}
[{{ $section }}]
{{ include "fanline.toml.keys" $content }}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanline.toml.keys" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{- include "fanline.toml.key" $key }} = {{ include "fanline.toml.value" $value }}
{{ end }}
{{- end }}
{{- end }}

{{- define "fanline.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toRawJson . }}{{ end }}
{{- end }}

{{/* A JSON text, number, truth value or list of them is TOML, too. */}}
{{- define "fanline.toml.value" -}}
{{- if kindIs "map" . }}
{{- $pairs := list }}
{{- range $key, $value := . }}
{{- $pairs = append $pairs (printf "%s = %s" (include "fanline.toml.key" $key) (include "fanline.toml.value" $value)) }}
{{- end -}}
{ {{ join ", " $pairs }} }
{{- else }}
{{- toRawJson . }}
{{- end }}
{{- end }}

{{/* Whether replicas share a Redis, as far as the values tell. */}}
{{- define "fanline.hasRedis" -}}
{{- $redis := .Values.config.redis }}
{{- $secret := .Values.secrets.redisUrl }}
{{- $names := list }}
{{- range .Values.env }}{{ $names = append $names .name }}{{ end }}
{{- $byEnv := or .Values.envFrom (has "REDIS_URL" $names) (has "FANLINE_REDIS__URL" $names) (has "FANLINE_REDIS__URL_FILE" $names) }}
{{- if or $redis.url $redis.url_file $secret.value $secret.existingSecret .Values.trialRedis.enabled $byEnv }}yes{{ end }}
{{- end }}

{{- define "fanline.replicas" -}}
{{- if kindIs "invalid" .Values.replicaCount }}{{ ternary 3 1 (eq "yes" (include "fanline.hasRedis" .)) }}
{{- else }}{{ .Values.replicaCount }}
{{- end }}
{{- end }}
