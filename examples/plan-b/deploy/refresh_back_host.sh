#!/bin/sh
# Reads the back load balancer's name from SSM Parameter Store and has nginx follow it. Run at boot and by a timer.
#   PARAMETER        name of the parameter
#   BACK_HOST_FILE   file that nginx.conf includes (NginxConfiguration.back_host_file)
#   NGINX_CONF       nginx.conf
#   TRIES, PAUSE     how often and how far apart the parameter is asked for; by default 5 times, 3 seconds
# A name that is none, or that nginx does not take, changes nothing: the old one stays, and the status is not 0.
set -u
NGINX=${NGINX:-nginx}

name=
try=0
while [ "$try" -lt "${TRIES:-5}" ]; do
  [ "$try" -gt 0 ] && sleep "${PAUSE:-3}"
  try=$((try + 1))
  name=$(aws ssm get-parameter --name "$PARAMETER" --query Parameter.Value --output text) && break
  name=
done
if [ -z "$name" ]; then
  echo "the parameter cannot be read; nothing is changed" >&2
  exit 1
fi
# Nothing that nginx would read as more than a name. The text is not repeated: it may be anything.
case $name in
  *[!a-z0-9.-]* | .* | -* | *..* | *.) valid=no ;;
  *) valid=yes ;;
esac
if [ "$valid" = no ] || [ "${#name}" -gt 253 ]; then
  echo "the parameter holds no host name; nothing is changed" >&2
  exit 2
fi

new=$(printf 'set $back_host "%s";' "$name")
running() { "$NGINX" -c "$NGINX_CONF" -s reload 2>/dev/null; }
if [ -f "$BACK_HOST_FILE" ] && [ "$(cat "$BACK_HOST_FILE")" = "$new" ]; then
  exit 0
fi
had_old=no
if [ -f "$BACK_HOST_FILE" ]; then
  cp -p "$BACK_HOST_FILE" "$BACK_HOST_FILE.old" || exit 1
  had_old=yes
fi
printf '%s\n' "$new" >"$BACK_HOST_FILE.new" && mv "$BACK_HOST_FILE.new" "$BACK_HOST_FILE" || exit 1
if ! "$NGINX" -t -q -c "$NGINX_CONF"; then
  if [ "$had_old" = yes ]; then mv "$BACK_HOST_FILE.old" "$BACK_HOST_FILE"; else rm -f "$BACK_HOST_FILE"; fi
  echo "nginx does not take the configuration; the old one stays" >&2
  exit 3
fi
rm -f "$BACK_HOST_FILE.old"
# At boot nginx does not run yet: its unit starts after this script and reads the file.
running || echo "nginx is not running; it will read the name when it starts" >&2
