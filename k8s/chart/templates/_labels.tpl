{{/* What every object carries. */}}
{{- define "swell.labels" -}}
app.kubernetes.io/instance: swell-{{ .Values.environment }}
app.kubernetes.io/managed-by: swell
app.kubernetes.io/part-of: swell
{{- end }}

{{/* What selects the service's pods; never anything that may change. */}}
{{- define "swell.selector" -}}
app.kubernetes.io/name: swell-service
{{- end }}
