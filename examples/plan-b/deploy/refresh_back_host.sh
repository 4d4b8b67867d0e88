#!/bin/sh
# Reads the back load balancer's name from SSM Parameter Store and has nginx follow it. Run at boot and by a timer.
#   PARAMETER        name of the parameter
#   BACK_HOST_FILE   file that nginx.conf includes (NginxConfiguration.back_host_file)
#   NGINX_CONF       nginx.conf
#   TRIES, PAUSE     how often the parameter is asked for, by default 6 times, and the seconds before the second time,
#                    by default 1; each further pause is twice as long, at most 30
#   NGINX_PROGRAM    by default nginx (NGINX is a variable of nginx's own)
# Ends with 0 if nginx has the name, or will read it when it starts. Otherwise the old name stays:
#   1 the parameter cannot be read      2 it holds no host name          3 nginx refuses the configuration
#   4 nginx was not to be reloaded      5 the file cannot be written     6 the name has no address
#   64 the variables above are wrong
# BACK_HOST_FILE.old is there while a change is under way: a run that was cut off is finished by the next one.
set -u
umask 022
# Ranges such as a-z, and classes of letters, mean these letters alone.
LC_ALL=C
export LC_ALL
nginx=${NGINX_PROGRAM:-nginx}

fail() {
  echo "$2" >&2
  exit "$1"
}

for variable in PARAMETER BACK_HOST_FILE NGINX_CONF; do
  eval "value=\${$variable:-}"
  [ -n "$value" ] || fail 64 "$variable is not set"
done
[ -r "$NGINX_CONF" ] || fail 64 "$NGINX_CONF cannot be read"
pid_file=$(sed -n 's/^pid \(.*\);$/\1/p' "$NGINX_CONF")
[ -n "$pid_file" ] || fail 64 "$NGINX_CONF does not say where the pid is"

# One run at a time, from the reading of the parameter on: an older answer must not overtake a newer one.
exec 9<"$NGINX_CONF"
flock -w 60 9 || fail 1 "another run does not end; nothing is changed"

name=
try=0
pause=${PAUSE:-1}
while [ "$try" -lt "${TRIES:-6}" ]; do
  if [ "$try" -gt 0 ]; then
    sleep "$pause"
    pause=$((pause * 2))
    [ "$pause" -le 30 ] || pause=30
  fi
  try=$((try + 1))
  name=$(timeout -k 5 20 aws ssm get-parameter --name "$PARAMETER" --query Parameter.Value --output text) && break
  name=
done
[ -n "$name" ] || fail 1 "the parameter cannot be read; nothing is changed"

# Nothing that nginx would read as more than a name. The text is not repeated: it may be anything. Load balancers that
# CloudFormation names have capitals in their DNS names.
case $name in
  None | *[!A-Za-z0-9.-]* | .* | -* | *..* | *.-* | *-.* | *. | *-) valid=no ;;
  *) valid=yes ;;
esac
if [ "$valid" = no ] || [ "${#name}" -gt 253 ] || printf '%s' "$name" | grep -Eq '[^.]{64}'; then
  fail 2 "the parameter holds no host name; nothing is changed"
fi
name=$(printf '%s' "$name" | tr '[:upper:]' '[:lower:]')

# The variable is nginx's.
# shellcheck disable=SC2016
new=$(printf 'set $back_host "%s";' "$name")
old=$BACK_HOST_FILE.old
if [ ! -e "$old" ] && [ -f "$BACK_HOST_FILE" ] && [ "$(cat "$BACK_HOST_FILE")" = "$new" ]; then
  exit 0
fi

# A misspelt name would be 502 for everybody. Without an old one there is nothing to lose.
if [ -f "$BACK_HOST_FILE" ] && ! timeout -k 1 10 getent ahosts "$name" >/dev/null; then
  fail 6 "the name in the parameter has no address; the old one stays"
fi

# An empty .old stands for no file at all.
restore() {
  if [ -s "$old" ]; then mv -f "$old" "$BACK_HOST_FILE"; else rm -f "$BACK_HOST_FILE" "$old"; fi
}

if [ ! -e "$old" ]; then
  if [ -f "$BACK_HOST_FILE" ]; then ln "$BACK_HOST_FILE" "$old"; else : >"$old"; fi || fail 5 "$old cannot be written"
fi
if ! { printf '%s\n' "$new" >"$BACK_HOST_FILE.new" && mv -f "$BACK_HOST_FILE.new" "$BACK_HOST_FILE"; }; then
  rm -f "$BACK_HOST_FILE.new"
  restore
  fail 5 "$BACK_HOST_FILE cannot be written"
fi
if ! "$nginx" -t -q -c "$NGINX_CONF"; then
  restore
  fail 3 "nginx does not take the configuration; the old one stays"
fi

# At boot nginx does not run yet: its unit starts after this script and reads the file. A pid that is left over from
# another boot may be anybody's by now.
runs() {
  [ -s "$pid_file" ] && read -r pid <"$pid_file" && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = nginx ]
}
if ! runs; then
  rm -f "$old"
  echo "nginx is not running; it will read the name when it starts" >&2
  exit 0
fi
if ! "$nginx" -c "$NGINX_CONF" -s reload; then
  restore
  fail 4 "nginx cannot be reloaded; the old name stays"
fi
rm -f "$old"
