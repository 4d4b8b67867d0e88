#!/bin/bash
# What an instance of Plan B's nginx does at its first boot: Amazon Linux 2023, cloud-init, as root.
# user_data.build_user_data() puts in front of this text, which it strips of comments:
#   PARAMETER          name of the SSM parameter that holds the back load balancer's name
#   LISTEN_PORT, HEALTH_PATH
#   LOG_GROUP          CloudWatch log group, empty for none
#   STACK, RESOURCE    whom to tell how it ended: CloudFormation waits for it. Empty: nobody
#   write_files        function that writes every file but back-host.env
# Ends with 0 if nginx answers. Otherwise, told on standard output (/var/log/cloud-init-output.log) and to CloudFormation:
#   1 the region is not known      2 packages are missing     3 the name of the back is not known
#   4 nginx refuses its file       5 nginx does not answer    6 a file cannot be written
# After 3 to 5 timer and service go on trying: once the cause is away, the instance serves.
set -u
umask 022
region=

say() {
  echo "plan-b: $*"
}

fail() {
  say "$2"
  exit "$1"
}

# repeat TIMES COMMAND ...
repeat() {
  local times=$1 try
  shift
  for ((try = 1; try <= times; try++)); do
    "$@" && return
    say "$1: try $try of $times failed"
    [ "$try" = "$times" ] || sleep 5
  done
  return 1
}

# Without a token the metadata service answers 401. The token is not an argument, which others could see.
find_region() {
  local token metadata=http://169.254.169.254/latest
  token=$(curl -sf --noproxy '*' --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token") &&
    region=$(curl -sf --noproxy '*' --max-time 5 -H @- "$metadata/meta-data/placement/region" <<<"X-aws-ec2-metadata-token: $token") &&
    [[ $region =~ ^[a-z]{2,}(-[a-z]+)+-[0-9]+$ ]]
}

install_packages() {
  timeout -k 10 300 dnf install -y -q "$@"
}

answers() {
  curl -sf --noproxy '*' --max-time 3 -o /dev/null "http://127.0.0.1:$LISTEN_PORT$HEALTH_PATH"
}

signal() {
  /opt/aws/bin/cfn-signal --exit-code "$1" --stack "$STACK" --resource "$RESOURCE" --region "$region"
}

finish() {
  local status=$?
  [ -z "$STACK" ] || repeat 3 signal "$status"
}
trap finish EXIT

repeat 10 find_region || fail 1 "the metadata service does not say which region this is"
# Amazon's own programs are in its images, but for the minimal ones: what is there needs no repository.
packages=(nginx logrotate)
command -v aws >/dev/null || packages+=(awscli-2)
[ -z "$STACK" ] || [ -x /opt/aws/bin/cfn-signal ] || packages+=(aws-cfn-bootstrap)
repeat 5 install_packages "${packages[@]}" || fail 2 "dnf cannot install: ${packages[*]}"

write_files || fail 6 "a file cannot be written"
# The second name of the region is for AWS's CLI before version 2.
printf '%s\n' "PARAMETER=$PARAMETER" BACK_HOST_FILE=/etc/plan-b/back_host.conf NGINX_CONF=/etc/plan-b/nginx.conf \
  "AWS_REGION=$region" "AWS_DEFAULT_REGION=$region" >/etc/plan-b/back-host.env || fail 6 "a file cannot be written"
mkdir -p /var/log/plan-b-nginx || fail 6 "a file cannot be written"

# Logs that do not reach CloudWatch are no reason not to serve.
start_agent() {
  local agent=/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
  repeat 2 install_packages amazon-cloudwatch-agent &&
    "$agent" -a fetch-config -m ec2 -s -c file:/etc/plan-b/cloudwatch.json
}
[ -z "$LOG_GROUP" ] || start_agent || say "the CloudWatch agent does not start"

systemctl daemon-reload
systemctl enable plan-b-nginx.service plan-b-back-host.service
systemctl enable --now plan-b-back-host.timer logrotate.timer
if ! repeat 10 systemctl start plan-b-back-host.service; then
  systemctl start --no-block plan-b-nginx.service
  fail 3 "the parameter $PARAMETER does not say where the back is"
fi
if ! /usr/sbin/nginx -t -q -c /etc/plan-b/nginx.conf; then
  systemctl start --no-block plan-b-nginx.service
  fail 4 "nginx does not take /etc/plan-b/nginx.conf"
fi
systemctl start plan-b-nginx.service
repeat 12 answers || fail 5 "nginx does not answer"
say "nginx answers"
