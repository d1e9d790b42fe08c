{{/* The option of net-conf.json's Backend that each value becomes, by backend: JSON. */}}
{{- define "flannel.optionNames" -}}
{
  "vxlan": {"backendPort": "Port", "vni": "VNI", "GBP": "GBP", "directRouting": "DirectRouting", "mtu": "MTU", "macPrefix": "MacPrefix"},
  "wireguard": {
    "backendPort": "ListenPort", "backendPortv6": "ListenPortV6", "psk": "PSK", "mtu": "MTU", "tunnelMode": "Mode",
    "keepaliveInterval": "PersistentKeepaliveInterval"
  },
  "udp": {"backendPort": "Port"},
  "ipip": {"directRouting": "DirectRouting"},
  "ipsec": {"psk": "PSK"}
}
{{- end }}

{{/* net-conf.json's Backend: JSON. */}}
{{- define "flannel.backend" -}}
{{- $values := .Values.flannel -}}
{{- $backend := dict "Type" $values.backend -}}
{{- range $value, $option := get (include "flannel.optionNames" . | fromJson) $values.backend | default dict -}}
{{- with get $values $value }}{{ $_ := set $backend $option . }}{{ end -}}
{{- end -}}
{{- range $option, $value := $values.backendOptions }}{{ $_ := set $backend $option $value }}{{ end -}}
{{- $backend | toJson -}}
{{- end }}

{{/* net-conf.json. */}}
{{- define "flannel.netConf" -}}
{{- $conf := dict "Backend" (include "flannel.backend" . | fromJson) -}}
{{- if .Values.podCidr }}{{ $_ := set $conf "Network" .Values.podCidr }}{{ else }}{{ $_ := set $conf "EnableIPv4" false }}{{ end -}}
{{- if .Values.podCidrv6 }}{{ $_ := set $conf "IPv6Network" .Values.podCidrv6 }}{{ $_ := set $conf "EnableIPv6" true }}{{ end -}}
{{- if .Values.flannel.enableNFTables }}{{ $_ := set $conf "EnableNFTables" true }}{{ end -}}
{{- $conf | toPrettyJson }}
{{ end }}

{{/* "own": net-conf.json holds a pre-shared key and goes into a Secret of the chart; "given": into none, since there is one; "": into the ConfigMap. */}}
{{- define "flannel.secret" -}}
{{- if .Values.flannel.netConfSecret -}}
given
{{- else if get (include "flannel.backend" . | fromJson) "PSK" -}}
own
{{- end -}}
{{- end }}

{{- define "flannel.image" -}}
{{ .Values.flannel.image.repository }}:{{ .Values.flannel.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Init containers write as root, also into directories that an installer left to another owner. */}}
{{- define "flannel.initSecurity" -}}
securityContext:
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    add: [DAC_OVERRIDE]
{{- end }}
