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

{{/* What selects the adapter's pod. */}}
{{- define "swell.adapter" -}}
app.kubernetes.io/name: swell-adapter
{{- end }}

{{/* Changed rules are a new name, and so a rollout. */}}
{{- define "swell.rules" -}}
swell-adapter-{{ .Files.Get "files/rules.yaml" | sha256sum | trunc 10 }}
{{- end }}
