{{/* Names and labels. */}}
{{- define "tegata.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tegata.selector" -}}
app.kubernetes.io/name: tegata
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "tegata.labels" -}}
{{ include "tegata.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "tegata.account" -}}
{{- $given := index .root.Values.serviceAccounts .component -}}
{{- $given.name | default (ternary (printf "%s-%s" (include "tegata.name" .root) .component) "default" $given.create) }}
{{- end }}

{{- define "tegata.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Settings without secrets, as a mapping in YAML: one ConfigMap for pods, and written out for jobs, which come before it. */}}
{{- define "tegata.settings" -}}
{{- $own := dict
  "TEGATA_BASE_URL" .Values.baseUrl
  "TEGATA_DATABASE_AUTH" .Values.database.auth
  "TEGATA_DRAIN_SECONDS" (toString .Values.drainSeconds)
  "TEGATA_SHUTDOWN_SECONDS" (toString .Values.shutdownSeconds)
-}}
{{- if .Values.trustedProxies }}{{ $_ := set $own "TEGATA_TRUSTED_PROXIES" .Values.trustedProxies }}{{ end -}}
{{- range $name, $value := .Values.config }}{{ $_ := set $own $name (toString $value) }}{{ end -}}
{{- toYaml $own }}
{{- end }}

{{/* Which values a pod needs, as a list of names in `secrets`; those without a Secret are left out. */}}
{{- define "tegata.needed" -}}
{{- $needed := dict
  "server" (list "masterKey" "databaseUrl" "databaseReaderUrl" "databaseListenUrl")
  "worker" (list "masterKey" "maintenanceUrl")
  "migrate" (list "migrationUrl")
  "bootstrap" (list "bootstrapUrl" "logins")
-}}
{{- $found := list -}}
{{- range index $needed .component }}{{ if (index $.root.Values.secrets .).secret }}{{ $found = append $found . }}{{ end }}{{ end -}}
{{- toJson $found }}
{{- end }}

{{/* The setting that a file is for; passwords of logins are an argument instead. */}}
{{- define "tegata.fileSettings" -}}
masterKey: TEGATA_MASTER_KEY_FILE
databaseUrl: TEGATA_DATABASE_URL_FILE
databaseReaderUrl: TEGATA_DATABASE_READER_URL_FILE
databaseListenUrl: TEGATA_DATABASE_LISTEN_URL_FILE
maintenanceUrl: TEGATA_MAINTENANCE_DATABASE_URL_FILE
migrationUrl: TEGATA_MIGRATION_DATABASE_URL_FILE
bootstrapUrl: TEGATA_BOOTSTRAP_DATABASE_URL_FILE
{{- end }}

{{- define "tegata.env" -}}
{{- $settings := fromYaml (include "tegata.fileSettings" .) -}}
{{- range $name := fromJsonArray (include "tegata.needed" .) }}
{{- with index $settings $name }}
- {name: {{ . }}, value: /run/secrets/tegata/{{ $name }}}
{{- end }}
{{- end }}
{{- if has .component (list "migrate" "bootstrap") }}
{{- range $name, $value := fromYaml (include "tegata.settings" .root) }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* What every pod has: nobody's rights, a root that cannot be written, its own secrets as files. */}}
{{- define "tegata.pod" -}}
serviceAccountName: {{ include "tegata.account" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 16Mi}
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- range fromJsonArray (include "tegata.needed" .) }}
        {{- $reference := index $.root.Values.secrets . }}
        - secret: {name: {{ $reference.secret }}, items: [{key: {{ $reference.key }}, path: {{ . }}}]}
        {{- end }}
  {{- with .root.Values.database.ca.configMap }}
  - name: database-ca
    configMap: {name: {{ . }}, items: [{key: {{ $.root.Values.database.ca.key }}, path: {{ $.root.Values.database.ca.key }}}]}
  {{- end }}
{{- end }}

{{- define "tegata.container" -}}
name: tegata
image: {{ include "tegata.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .arguments }}
{{- with include "tegata.env" . }}
env:
  {{- . | trim | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: secrets, mountPath: /run/secrets/tegata, readOnly: true}
  {{- if .root.Values.database.ca.configMap }}
  - {name: database-ca, mountPath: /etc/tegata/database-ca, readOnly: true}
  {{- end }}
resources: {{ toJson .resources }}
{{- end }}

{{- define "tegata.podLabels" -}}
{{ include "tegata.labels" . }}
{{- with .root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
