"""Writes the nginx configuration of Plan B; needs Python alone, so that user data and tests can both load it.

python nginx_configuration.py --back-host back.plan-b.internal --front-network 10.0.0.0/24
"""

from __future__ import annotations

import argparse
import re
from dataclasses import KW_ONLY, dataclass
from ipaddress import ip_address, ip_network

OIDC_HEADERS = ("X-Amzn-Oidc-Accesstoken", "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity")
"""What a load balancer says of a user (AWS, "Authenticate users using an Application Load Balancer")."""

MTLS_HEADERS = tuple(
    f"X-Amzn-Mtls-Clientcert{end}" for end in ("", "-Leaf", "-Subject", "-Issuer", "-Serial-Number", "-Validity")
)
"""What it says of a client's certificate (AWS, "Mutual authentication with TLS in Application Load Balancer")."""

CERTIFICATE_HEADER = "X-Client-Cert"
"""In which nginx itself hands on the certificate of a client."""

_BACK_CA = "/etc/pki/tls/certs/ca-bundle.crt"  # Amazon Linux 2023
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_FILE = re.compile(r"/[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_PATH = re.compile(r"/[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*")
_ADDRESS = re.compile(r"[0-9a-f.:]+(?:/[0-9]+)?", re.IGNORECASE)  # no zone; the module ipaddress judges the rest
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class MutualTls:
    """A second port, for services: a client needs a certificate of `client_ca`, which is handed on.

    >>> MutualTls(8443, "/etc/nginx/tls/server.pem", "/etc/nginx/tls/server.key", "/etc/nginx/tls/clients.pem").port
    8443
    """

    port: int
    certificate: str
    key: str
    client_ca: str

    def __post_init__(self) -> None:
        _check_number("port", self.port, 1, 65535)
        for name in ("certificate", "key", "client_ca"):
            _check_text(name, getattr(self, name), _FILE)


@dataclass(frozen=True, slots=True)
class NginxConfiguration:
    """What differs between installations. Raises `ValueError` for whatever is not plainly of its kind.

    `back_host` is a name that nginx asks its resolver for, again and again. With `back_host_file` the name stands in
    that file instead, which `refresh_back_host.sh` writes from a parameter. `front_networks` are the subnets of the
    front load balancer: `x-amzn-oidc-*` of any other peer is taken away. `back_ca` None speaks plain HTTP to the back.
    Names that CloudFormation has made up have capitals, which are made small: they mean nothing, and nginx keeps them.

    `back_keepalive` keeps so many connections to the back open; nginx then looks the name up only when it starts or is
    reloaded: for a back whose addresses stay, as a Network Load Balancer's do and an Application Load Balancer's do
    not. 0 opens a connection for each request, to an address that is asked for again and again.

    `user` is whom the workers run as if root starts nginx, with the group of that name unless `group` is given.

    >>> "proxy_ssl_verify on;" in build_configuration(NginxConfiguration("back.internal", ["10.0.0.0/24"]))
    True
    """

    back_host: str
    front_networks: list[str] | tuple[str, ...]
    _: KW_ONLY
    back_host_file: str | None = None
    back_port: int = 443
    back_ca: str | None = _BACK_CA
    back_certificate_name: str | None = None
    back_keepalive: int = 0
    listen_address: str = "0.0.0.0"  # noqa: S104 - an instance's security group says who reaches it
    listen_port: int = 8080
    mutual_tls: MutualTls | None = None
    resolver: str = "169.254.169.253"
    resolver_port: int = 53
    resolver_valid_seconds: int = 10
    resolver_seconds: int = 3
    health_path: str = "/nginx-health"
    header_kilobytes: int = 32
    body_megabytes: int = 10
    connect_seconds: int = 3
    read_seconds: int = 60
    workers: int = 0
    user: str | None = None
    group: str | None = None
    run_directory: str = "/run/plan-b-nginx"
    access_log: str = "/var/log/nginx/access.log"
    error_log: str = "/var/log/nginx/error.log"

    def __post_init__(self) -> None:
        object.__setattr__(self, "front_networks", tuple(map(_parse_network, self.front_networks)))
        if not self.front_networks:
            raise ValueError("front_networks: name the subnets of the front load balancer")
        _check_text("back_host", self.back_host, _HOST)
        for name, pattern in _OPTIONAL_TEXTS.items():
            if getattr(self, name) is not None:
                _check_text(name, getattr(self, name), pattern)
        for name in ("back_host", "back_certificate_name"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, getattr(self, name).lower())
        for name in ("run_directory", "access_log", "error_log"):
            _check_text(name, getattr(self, name), _FILE)
        _check_text("health_path", self.health_path, _PATH)
        for name in ("listen_address", "resolver"):
            _check_text(name, getattr(self, name), _ADDRESS)
            ip_address(getattr(self, name))
        for name, (least, most) in _NUMBERS.items():
            _check_number(name, getattr(self, name), least, most)
        if self.mutual_tls is not None and self.mutual_tls.port == self.listen_port:
            raise ValueError("mutual_tls: a port of its own")
        if self.group is not None and self.user is None:
            raise ValueError("group: of which user?")
        if self.back_keepalive and self.back_host_file is not None:
            raise ValueError("back_keepalive: not with a name that changes")


_OPTIONAL_TEXTS = {
    "back_host_file": _FILE,
    "back_ca": _FILE,
    "back_certificate_name": _HOST,
    "user": _USER,
    "group": _USER,
}
_NUMBERS = {
    "back_port": (1, 65535),
    "back_keepalive": (0, 1024),
    "listen_port": (1, 65535),
    "resolver_port": (1, 65535),
    "resolver_valid_seconds": (1, 300),
    "resolver_seconds": (1, 30),
    "header_kilobytes": (8, 64),
    "body_megabytes": (1, 1024),
    "connect_seconds": (1, 30),
    "read_seconds": (1, 3600),
    "workers": (0, 64),
}


def build_configuration(config: NginxConfiguration) -> str:
    """Return the text of `nginx.conf`."""
    run = config.run_directory
    users = f"user {config.user} {config.group or ''}".rstrip() + ";\n" if config.user else ""
    networks = "\n".join(f"        {network} 0;" for network in config.front_networks)
    places = "\n".join(
        f"    {kind}_temp_path {run}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    servers = _build_front_server(config)
    if config.mutual_tls is not None:
        servers += _build_service_server(config, config.mutual_tls)
    return f"""# Written by nginx_configuration.py: change its arguments, not this file.
{users}worker_processes {config.workers or "auto"};
pid {run}/nginx.pid;
# Below crit, messages repeat request lines and headers, and the tokens in them; the access log has the statuses.
error_log {config.error_log} crit;
events {{
    worker_connections 1024;
}}
http {{
{places}
    log_format plain escape=json '{{"time":"$time_iso8601","peer":"$remote_addr","method":"$request_method",'
        '"path":"$uri","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,'
        '"back":"$upstream_addr","back_status":"$upstream_status"}}';
    access_log {config.access_log} plain;
    server_tokens off;
    underscores_in_headers off;
    ignore_invalid_headers on;
    # A load balancer lets 64 K of headers through, 16 K each: four such buffers hold them, however they are packed.
    large_client_header_buffers 4 {config.header_kilobytes}k;
    client_max_body_size {config.body_megabytes}m;
    client_header_timeout 15s;
    client_body_timeout 30s;
    keepalive_timeout 75s;
    # Asked again after this time: a name given to proxy_pass as it is would be looked up once, at the start.
    resolver {_bracket(config.resolver)}:{config.resolver_port} valid={config.resolver_valid_seconds}s ipv6=off;
    resolver_timeout {config.resolver_seconds}s;
    # No other protocol: behind an upgrade to HTTP/2 requests would pass whose headers nobody takes away.
    map $http_upgrade $upgrade_to_back {{
        default "";
        ~*^websocket$ websocket;
    }}
    map $upgrade_to_back $connection_to_back {{
        default upgrade;
        "" "";
    }}
    map $http_x_forwarded_proto $proto_of_client {{
        default https;
        http http;
    }}
    # The peer of the connection itself, whatever any header says.
    geo $realip_remote_addr $is_stranger {{
        default 1;
{networks}
    }}
{_build_upstream(config)}{servers}}}
"""


def _build_upstream(config: NginxConfiguration) -> str:
    if not config.back_keepalive:
        return ""
    return f"""    upstream back {{
        server {config.back_host}:{config.back_port};
        keepalive {config.back_keepalive};
        # Less than a load balancer's 60 s, so that it does not close one that a request is just sent on.
        keepalive_timeout 50s;
    }}
"""


def _build_front_server(config: NginxConfiguration) -> str:
    return f"""    server {{
        listen {_bracket(config.listen_address)}:{config.listen_port};
{_build_common(config)}
        error_page 418 = @stranger;
        location / {{
            if ($is_stranger) {{
                return 418;
            }}
            # Headers are passed on as they came, two of a name as two, so that the application can refuse them.
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $proto_of_client;
            proxy_set_header {CERTIFICATE_HEADER} "";
{_build_pass(config)}
        }}
        location @stranger {{
            proxy_set_header X-Forwarded-For $realip_remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
{_build_removals(CERTIFICATE_HEADER)}
{_build_pass(config)}
        }}
    }}
"""


def _build_service_server(config: NginxConfiguration, mutual: MutualTls) -> str:
    return f"""    server {{
        listen {_bracket(config.listen_address)}:{mutual.port} ssl;
        ssl_certificate {mutual.certificate};
        ssl_certificate_key {mutual.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_client_certificate {mutual.client_ca};
        ssl_verify_client on;
        ssl_verify_depth 2;
{_build_common(config)}
        location / {{
            proxy_set_header X-Forwarded-For $realip_remote_addr;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header {CERTIFICATE_HEADER} $ssl_client_escaped_cert;
{_build_removals()}
{_build_pass(config)}
        }}
    }}
"""


def _build_common(config: NginxConfiguration) -> str:
    name = f"include {config.back_host_file};" if config.back_host_file else f'set $back_host "{config.back_host}";'
    return f"""        {name}
        location = {config.health_path} {{
            access_log off;
            default_type text/plain;
            return 200 "ok";
        }}"""


def _build_removals(*more: str) -> str:
    return "\n".join(f'            proxy_set_header {name} "";' for name in (*OIDC_HEADERS, *MTLS_HEADERS, *more))


def _build_pass(config: NginxConfiguration) -> str:
    lines = [
        "proxy_set_header Host $host;",
        "proxy_set_header Upgrade $upgrade_to_back;",
        "proxy_set_header Connection $connection_to_back;",
        "proxy_http_version 1.1;",
        f"proxy_connect_timeout {config.connect_seconds}s;",
        f"proxy_send_timeout {config.read_seconds}s;",
        f"proxy_read_timeout {config.read_seconds}s;",
        "proxy_buffer_size 32k;",
        "proxy_buffers 8 32k;",
        # Another address of the same name is tried; never for POST, PATCH or LOCK once they have been sent.
        "proxy_next_upstream error timeout;",
        "proxy_next_upstream_tries 2;",
        f"proxy_next_upstream_timeout {2 * config.connect_seconds}s;",
    ]
    scheme = "http"
    if config.back_ca is not None:
        scheme = "https"
        lines += [
            "proxy_ssl_verify on;",
            "proxy_ssl_verify_depth 4;",
            f"proxy_ssl_trusted_certificate {config.back_ca};",
            f"proxy_ssl_name {config.back_certificate_name or '$back_host'};",
            "proxy_ssl_server_name on;",
            "proxy_ssl_protocols TLSv1.2 TLSv1.3;",
        ]
    back = "back" if config.back_keepalive else f"$back_host:{config.back_port}"
    lines.append(f"proxy_pass {scheme}://{back}$request_uri;")
    return "\n".join(f"            {line}" for line in lines)


def _parse_network(text: str) -> str:
    _check_text("front_networks", text, _ADDRESS)
    network = ip_network(text)
    if network.prefixlen == 0:
        raise ValueError("front_networks: the whole internet is not the front load balancer")
    if str(network) == "255.255.255.255/32":
        raise ValueError("front_networks: nobody's address, and one that nginx does not take")
    return str(network)


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _check_text(name: str, value: object, pattern: re.Pattern[str]) -> None:
    # Whatever could end a directive, open a block, quote or name a variable is in none of the patterns.
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ValueError(f"{name}: not of the form it must have")


def _check_number(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name}: a whole number from {least} to {most}")


def main() -> None:
    """Print the configuration for the arguments."""
    parser = argparse.ArgumentParser(description="Print the nginx configuration of Plan B.")
    parser.add_argument("--back-host", required=True, help="name of the back load balancer, or a stable alias of it")
    parser.add_argument("--back-host-file", help="file that holds the name, written by refresh_back_host.sh")
    parser.add_argument("--back-certificate-name", help="name in its certificate, if it is another one than its own")
    parser.add_argument("--back-ca", default=_BACK_CA, help="file of the authorities that its certificate may be of")
    parser.add_argument("--front-network", action="append", required=True, help="a subnet of the front load balancer")
    parser.add_argument("--listen-port", type=int, default=8080)
    parser.add_argument(
        "--mutual-tls",
        nargs=4,
        metavar=("PORT", "CERTIFICATE", "KEY", "CLIENT_CA"),
        help="a second port, for services with a certificate of CLIENT_CA",
    )
    parser.add_argument("--user", help="whom nginx's workers run as")
    parser.add_argument("--group", help="their group, if its name is another one than the user's")
    given = parser.parse_args()
    try:
        config = NginxConfiguration(
            given.back_host,
            given.front_network,
            back_host_file=given.back_host_file,
            back_certificate_name=given.back_certificate_name,
            back_ca=given.back_ca,
            listen_port=given.listen_port,
            mutual_tls=MutualTls(int(given.mutual_tls[0]), *given.mutual_tls[1:]) if given.mutual_tls else None,
            user=given.user,
            group=given.group,
        )
    except ValueError as error:
        parser.error(str(error))
    print(build_configuration(config), end="")


if __name__ == "__main__":
    main()
