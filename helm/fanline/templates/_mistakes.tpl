{{/* What the schema cannot say. Every mistake is told at once: what was found, and what to write. */}}

{{- define "fanline.check" -}}
{{- $mistakes := list }}
{{- range list "config" "off" "listeners" "env" "urls" "redis" "scale" "doors" }}
{{- range splitList "\n" (include (printf "fanline.mistakes.%s" .) $ | trim) }}
{{- with trim . }}{{ $mistakes = append $mistakes (printf "- %s" .) }}{{ end }}
{{- end }}
{{- end }}
{{- if $mistakes }}{{ fail (printf "these values cannot be used:\n%s\n" (join "\n" $mistakes)) }}{{ end }}
{{- end }}

{{- define "fanline.mistakes.config" -}}
{{- range $key := list "delay" "window" }}
{{- $given := index $.Values.config.drain $key }}
{{- if not (include "fanline.milliseconds" $given) }}
config.drain.{{ $key }} = {{ toJson $given }} is no duration: write whole numbers with units from large to small, at most 720h, such as "500ms", "25s" or "1m30s"
{{- end }}
{{- end }}
{{- range $setting, $secret := dict "internal.api_keys" "apiKeys" "redis.password" "redisPassword" "redis.sentinel_password" "redisSentinelPassword" }}
{{- $path := splitList "." $setting }}
{{- if dig (first $path) (last $path) "" $.Values.config }}
config.{{ $setting }} would lie readable in a ConfigMap: give it as secrets.{{ $secret }}.value, or name a Secret in secrets.{{ $secret }}.existingSecret
{{- end }}
{{- end }}
{{- range $setting, $secret := dict "internal.api_keys_file" "apiKeys" "redis.url_file" "redisUrl" "redis.password_file" "redisPassword" "redis.sentinel_password_file" "redisSentinelPassword" }}
{{- $path := splitList "." $setting }}
{{- $given := index $.Values.secrets $secret }}
{{- if and $given.value $given.existingSecret }}
secrets.{{ $secret }} has both a value and an existingSecret: take one away
{{- end }}
{{- if and (dig (first $path) (last $path) "" $.Values.config) (or $given.value $given.existingSecret) }}
config.{{ $setting }} and secrets.{{ $secret }} are both set: take one away
{{- end }}
{{- end }}
{{- end }}

{{/* YAML reads off, without quotes, as false; the gateway knows "off". */}}
{{- define "fanline.mistakes.off" -}}
{{- $given := dict }}
{{- range $key := list "public.max_age" "handshake.per_second" "outbox.stall" "heartbeat.every" "log.level" }}
{{- $path := splitList "." $key }}
{{- $_ := set $given $key (dig (first $path) (last $path) "" $.Values.config) }}
{{- end }}
{{- range $index, $route := .Values.config.routes }}
{{- $_ := set $given (printf "routes[%d].heartbeat" $index) $route.heartbeat }}
{{- if kindIs "map" $route.heartbeat }}{{ $_ := set $given (printf "routes[%d].heartbeat.every" $index) $route.heartbeat.every }}{{ end }}
{{- end }}
{{- range $key, $value := $given }}
{{- if kindIs "bool" $value }}
config.{{ $key }} = {{ $value }}: without quotes YAML reads off as false, and on as true: quote it: "off"
{{- end }}
{{- end }}
{{- end }}

{{/* A variable wins over config, and what the chart works out of config would be wrong. envFrom it cannot see. */}}
{{- define "fanline.mistakes.env" -}}
{{- $ports := "the container's ports are worked out of" }}
{{- $settings := dict "FANLINE_PUBLIC__LISTEN" "public.listen" "FANLINE_INTERNAL__LISTEN" "internal.listen" "PORT" "public.listen" }}
{{- range .Values.env }}
{{- if hasPrefix "FANLINE_DRAIN__" .name }}
{{- $setting := printf "config.drain.%s" (trimPrefix "FANLINE_DRAIN__" .name | lower) }}
env has {{ .name }}, which would win over {{ $setting }}, and terminationGracePeriodSeconds is worked out of config.drain: take it away and set {{ $setting }}
{{- else if hasKey $settings .name }}
{{- $setting := printf "config.%s" (get $settings .name) }}
env has {{ .name }}, which would win over {{ $setting }}, and {{ $ports }} that: take it away and set {{ $setting }}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanline.mistakes.redis" -}}
{{- $url := .Values.config.redis.url }}
{{- $secret := .Values.secrets.redisUrl }}
{{- if and $url (or $secret.value $secret.existingSecret) }}
config.redis.url and secrets.redisUrl are both set: take one away
{{- end }}
{{- if and .Values.trialRedis.enabled (or $url $secret.value $secret.existingSecret) }}
trialRedis.enabled stands beside the URL of another Redis: take one away
{{- end }}
{{- with .Values.secrets.redisPassword }}
{{- if and $.Values.trialRedis.enabled (or .value .existingSecret) }}
secrets.redisPassword is for a Redis of yours: the trial one's is trialRedis.password
{{- end }}
{{- end }}
{{- with .Values.redisTls }}
{{- if and .existingSecret (ne (empty .cert) (empty .key)) }}
redisTls.cert and redisTls.key go together: set both or neither
{{- end }}
{{- range $key := list "ca" "cert" "key" }}
{{- if and $.Values.redisTls.existingSecret (index $.Values.redisTls $key) (index $.Values.config.redis $key) }}
config.redis.{{ $key }} and redisTls.{{ $key }} are both set: take one away
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanline.mistakes.scale" -}}
{{- $most := .Values.autoscaling.enabled | ternary .Values.autoscaling.maxReplicas (include "fanline.replicas" . | int) | int }}
{{- if and (gt $most 1) (not (include "fanline.hasRedis" .)) }}
{{ $most }} replicas without a Redis would not hear each other: set config.redis.url, or trialRedis.enabled=true for a trial, or replicaCount=1
{{- end }}
{{- with .Values.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
autoscaling.minReplicas = {{ .minReplicas }} is more than autoscaling.maxReplicas = {{ .maxReplicas }}
{{- end }}
{{- if not (or .cpu .connections .metrics) }}
autoscaling has nothing to go by: set cpu, connections or metrics
{{- end }}
{{- if and .cpu (not (dig "requests" "cpu" "" $.Values.resources)) }}
autoscaling.cpu is a share of resources.requests.cpu, which is not set
{{- end }}
{{- if and (eq .kind "keda") .connections (not .keda.prometheusUrl) }}
autoscaling.connections with kind keda asks Prometheus: set autoscaling.keda.prometheusUrl, such as http://prometheus-operated.monitoring:9090
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled (eq (kindIs "invalid" .maxUnavailable) (kindIs "invalid" .minAvailable)) }}
podDisruptionBudget takes one of maxUnavailable and minAvailable: set the other to null
{{- end }}
{{- end }}
{{- end }}

{{- define "fanline.mistakes.doors" -}}
{{- if not (regexMatch "^[a-z]" (include "fanline.fullname" .)) }}
{{ include "fanline.fullname" . }} cannot name a Service, which begins with a letter: set fullnameOverride
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
ingress.enabled without ingress.hosts: name one, such as [{host: ws.example.com, paths: [{path: /, pathType: Prefix}]}]
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
httpRoute.enabled without httpRoute.parentRefs: name the gateway, such as [{name: public, namespace: gateways}]
{{- end }}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled }}
monitoring.serviceMonitor and monitoring.podMonitor would scrape each replica twice: take one away
{{- end }}
{{- with .Values.service }}
{{- if and .nodePort (eq .type "ClusterIP") }}
service.nodePort is for type NodePort or LoadBalancer, and service.type is ClusterIP
{{- end }}
{{- end }}
{{- end }}
