{{/* Where the gateway listens and where Redis is: what is read of it, and what is wrong with it. */}}

{{/* The port of "0.0.0.0:8080" or "[::]:8080". */}}
{{- define "fanline.port" -}}
{{ regexFind "[0-9]+$" (toString .) }}
{{- end }}

{{/* The URLs of a list, or of a text: it parts at each comma behind which a URL begins; the other commas are of a URL's hosts. As JSON. */}}
{{- define "fanline.urls" -}}
{{- $urls := list }}
{{- range kindIs "slice" . | ternary . (list .) }}
{{- range splitList "\n" (regexReplaceAll ",\\s*([a-z+]+://)" (default "" .) "\n${1}") }}
{{- with trim . }}{{ $urls = append $urls . }}{{ end }}
{{- end }}
{{- end }}
{{- toJson $urls }}
{{- end }}

{{- define "fanline.mistakes.listeners" -}}
{{- $services := .Values.service }}
{{- range $section := list "public" "internal" }}
{{- $listen := toString (index $.Values.config $section).listen }}
{{- $port := include "fanline.port" $listen }}
{{- if not (regexMatch "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[1-9][0-9]*$" $listen) }}
config.{{ $section }}.listen = {{ toJson $listen }} is no address with a port: write "0.0.0.0:8080", or "[::]:8080" on an IPv6 cluster
{{- else if or (gt (len $port) 5) (gt (int $port) 65535) }}
config.{{ $section }}.listen = {{ toJson $listen }}: {{ $port }} is no port: write one from 1 to 65535, such as "0.0.0.0:8080"
{{- else if or (hasPrefix "127." $listen) (hasPrefix "[::1]" $listen) }}
config.{{ $section }}.listen = {{ toJson $listen }} is loopback, which nobody outside of the pod reaches: write "0.0.0.0:{{ $port }}"
{{- else if and (has "IPv6" $services.ipFamilies) (not (hasPrefix "[" $listen)) }}
config.{{ $section }}.listen = {{ toJson $listen }} hears IPv4 only, and service.ipFamilies has IPv6: write "[::]:{{ $port }}", which hears both
{{- else if and (eq "RequireDualStack" $services.ipFamilyPolicy) (not (hasPrefix "[" $listen)) }}
config.{{ $section }}.listen = {{ toJson $listen }} hears IPv4 only, and service.ipFamilyPolicy is RequireDualStack: write "[::]:{{ $port }}", which hears both
{{- end }}
{{- end }}
{{- if eq (include "fanline.port" .Values.config.public.listen) (include "fanline.port" .Values.config.internal.listen) }}
config.public.listen and config.internal.listen share port {{ include "fanline.port" .Values.config.public.listen }}: give each its own
{{- end }}
{{- end }}

{{/* No user and no password is shown. As in the gateway, what stands before the last "@" is who we are, slashes and all. */}}
{{- define "fanline.mistakes.urls" -}}
{{- $known := "^(unix|(redis|valkey)s?([+](sentinel|cluster))?)://" }}
{{- $forms := "write redis://, rediss:// (TLS), redis+sentinel:// or redis+cluster:// before the host, such as \"redis://redis:6379\"" }}
{{- range include "fanline.urls" .Values.config.redis.url | fromJsonArray }}
{{- if or (regexMatch ":.*@" (regexReplaceAll "^[a-z+]+://" . "")) (regexMatch "[?&]pass=" .) }}
config.redis.url holds a password and would lie readable in a ConfigMap: give the URL without it and secrets.redisPassword, or the whole URL as secrets.redisUrl
{{- end }}
{{- if not (regexMatch $known .) }}
config.redis.url = {{ regexReplaceAll "^([a-zA-Z+]+://)?(.*@)?([^?]*).*$" . "${1}${3}" | toJson }} is no URL of Redis: {{ $forms }}
{{- end }}
{{- end }}
{{- with .Values.secrets.redisUrl.value }}
{{- if not (regexMatch $known (trim .)) }}
secrets.redisUrl.value is no URL of Redis: {{ $forms }}
{{- end }}
{{- end }}
{{- end }}
