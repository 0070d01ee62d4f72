{{/* Durations as the gateway reads them: whole numbers with units, from large to small, at most a month. */}}

{{/* In milliseconds; empty where the text is no duration. */}}
{{- define "fanline.milliseconds" -}}
{{- $text := toString . }}
{{- if and $text (regexMatch "^([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,10}ms)?$" $text) }}
{{- $total := 0 }}
{{- range $unit, $worth := dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1 }}
{{- with regexFind (printf "[0-9]+%s([0-9]|$)" $unit) $text }}
{{- $total = add $total (mul (regexFind "^[0-9]+" . | int64) $worth) }}
{{- end }}
{{- end }}
{{- if le $total 2592000000 }}{{ $total }}{{ end }}
{{- end }}
{{- end }}

{{/* From SIGTERM until the last client is told, in whole seconds. Read after the mistakes: both are durations. */}}
{{- define "fanline.drainSeconds" -}}
{{- $drain := .Values.config.drain }}
{{- $ms := add (include "fanline.milliseconds" $drain.delay | int64) (include "fanline.milliseconds" $drain.window | int64) }}
{{- div (add $ms 999) 1000 }}
{{- end }}
