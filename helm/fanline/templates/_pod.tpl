{{/* What the gateway's pods and the test pod have in common: the image, its configuration, and no rights. */}}

{{/* (list root), and behind it the kernel settings of the gateway's. */}}
{{- define "fanline.podSecurity" -}}
{{- $security := deepCopy (default dict (first .).Values.podSecurityContext) }}
{{- with rest . | first }}{{ $_ := set $security "sysctls" . }}{{ end }}
{{- toYaml $security }}
{{- end }}

{{/* Configuration and secrets, each Secret's files in one place. Not readable by everybody, of which the gateway warns. */}}
{{- define "fanline.volumes" -}}
- name: config
  configMap:
    name: {{ include "fanline.fullname" . }}
{{- with include "fanline.files" . | fromJsonArray }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      - secret:
          name: {{ .secret }}
          items: [{key: {{ .item | quote }}, path: {{ .file }}}]
      {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end }}

{{- define "fanline.mounts" -}}
- name: config
  mountPath: /etc/fanline
  readOnly: true
{{- if include "fanline.files" . | fromJsonArray }}
- name: secrets
  mountPath: {{ include "fanline.filesAt" . }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list root), and behind it variables of this container alone. */}}
{{- define "fanline.container" -}}
{{- $root := first . }}
{{- $own := rest . | first }}
{{- with $root -}}
image: {{ include "fanline.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with concat (default list $own) (default list .Values.env) }}
env:
  {{- tpl (toYaml .) $root | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom:
  {{- tpl (toYaml .) $root | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "fanline.mounts" . | nindent 2 }}
{{- end }}
{{- end }}

{{/* (dict probe path): the probe's times around a question that is fixed. */}}
{{- define "fanline.probe" -}}
httpGet:
  path: {{ .path }}
  port: internal
{{ toYaml .probe }}
{{- end }}

{{- define "fanline.affinity" -}}
{{- $affinity := deepCopy .Values.affinity }}
{{- if and (ne .Values.antiAffinity "off") (not (hasKey $affinity "podAntiAffinity")) }}
{{- $selector := dict "matchLabels" (include "fanline.podSelector" (list . "gateway") | fromYaml) }}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" $selector }}
{{- $rule := dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term) }}
{{- if eq .Values.antiAffinity "preferred" }}
{{- $rule = dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term)) }}
{{- end }}
{{- $_ := set $affinity "podAntiAffinity" $rule }}
{{- end }}
{{- with $affinity }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "fanline.spread" -}}
{{- $selector := dict "matchLabels" (include "fanline.podSelector" (list . "gateway") | fromYaml) }}
{{- $constraints := .Values.topologySpreadConstraints }}
{{- if kindIs "invalid" $constraints }}
{{- $even := dict "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" "matchLabelKeys" (list "pod-template-hash") }}
{{- $zones := merge (dict "topologyKey" "topology.kubernetes.io/zone") $even }}
{{- $nodes := merge (dict "topologyKey" "kubernetes.io/hostname") $even }}
{{- $constraints = list $zones $nodes }}
{{- end }}
{{- range $constraints }}
- {{ toYaml (merge (deepCopy .) (dict "labelSelector" $selector)) | nindent 2 | trim }}
{{- end }}
{{- end }}
