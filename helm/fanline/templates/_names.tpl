{{/* Names, labels, images. No name is longer than 52, so that "-internal" and the like fit the 63 of a label. */}}

{{- define "fanline.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "fanline.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "fanline.selector" -}}
app.kubernetes.io/name: {{ include "fanline.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* (list root component): what finds the pods of a part, and nothing else. */}}
{{- define "fanline.podSelector" -}}
{{ include "fanline.selector" (first .) }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* (list root component) */}}
{{- define "fanline.labels" -}}
{{- $root := first . -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "fanline.podSelector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: fanline
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list root component): of pods that a controller makes. Without versions, so that a new chart alone restarts nothing. */}}
{{- define "fanline.podLabels" -}}
{{ include "fanline.podSelector" . }}
app.kubernetes.io/part-of: fanline
{{- with (first .).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list root component name-suffix): an object's metadata. */}}
{{- define "fanline.metadata" -}}
{{- $root := first . -}}
name: {{ include "fanline.fullname" $root }}{{ last . }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "fanline.labels" (list $root (index . 1)) | nindent 2 }}
{{- end }}

{{- define "fanline.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanline.serviceAccount" -}}
{{- with .Values.serviceAccount }}
{{- default (ternary (include "fanline.fullname" $) "default" .create) .name }}
{{- end }}
{{- end }}

{{/* A file of the chart that another file is made of. */}}
{{- define "fanline.file" -}}
{{- $text := (first .).Files.Get (last .) }}
{{- if not $text }}
{{- fail (printf "%s is not in this chart, or is empty: take the chart whole, or set %s.enabled=false" (last .) (index . 1)) }}
{{- end }}
{{- $text }}
{{- end }}
