"""Apache Cassandra: the files of a node, and the command that starts it."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.local.settings import Server, ServicesSettings, ServicesState
from deploy.local.system.processes import mark

# The packages that Cassandra's own jvm17-server.options exports and opens.
_EXPORTS = (
    *(f"java.base/jdk.internal.{name}" for name in ("misc", "ref")),
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    *(f"java.rmi/sun.rmi.{name}" for name in ("registry", "server", "transport.tcp")),
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.unsupported/sun.misc",
)
_OPENS = (
    *(f"java.base/jdk.internal.{name}" for name in ("loader", "math", "module", "ref", "reflect", "util.jar")),
    *(f"java.base/java.{name}" for name in ("io", "lang", "lang.module", "lang.reflect", "net", "nio", "util")),
    *(f"java.base/java.util.{name}" for name in ("concurrent", "concurrent.atomic")),
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)
_LOGBACK = """\
<configuration>
  <appender name="file" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>{log}</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>{log}.%i</fileNamePattern><minIndex>1</minIndex><maxIndex>2</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy">
      <maxFileSize>10MB</maxFileSize>
    </triggeringPolicy>
    <encoder><pattern>%date{{ISO8601}} %-5level %msg \\(%logger{{20}}\\)%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="file"/></root>
</configuration>
"""


def configuration(state: ServicesState, server: Server, settings: ServicesSettings) -> dict[str, object]:
    """Return the cassandra.yaml of one node."""
    data = Path(server.folder) / "data"
    secured = state.security.cassandra_user is not None
    chosen: dict[str, object] = {
        "cluster_name": "groknet",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "num_tokens": 4,  # enough to spread over three nodes; each one more costs start time
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{state.contact_points[0]}:{server.ports['internal']}"}],
            }
        ],
        "listen_address": server.host,
        "rpc_address": server.host,
        "storage_port": server.ports["internal"],
        "native_transport_port": server.ports["client"],
        "data_file_directories": [str(data / "tables")],
        **{f"{name}_directory": str(data / name) for name in ("commitlog", "saved_caches", "hints", "cdc_raw")},
        # The default, periodic, writes 3 times as fast (6,700 and 1,900/s), but a kill -9 loses what was acknowledged
        # since the last mark, and there is one mark each 100 ms. For throughput set it in cassandra_options.
        "commitlog_sync": "batch",
        "commitlog_segment_size": "16MiB",
        "auto_snapshot": False,  # tests drop tables
        "authenticator": "PasswordAuthenticator" if secured else "AllowAllAuthenticator",
        "authorizer": "CassandraAuthorizer" if secured else "AllowAllAuthorizer",
        "role_manager": "CassandraRoleManager",
    }
    if state.security.cassandra_tls:
        chosen["client_encryption_options"] = {
            "enabled": True,
            "optional": False,
            "keystore": str(Path(state.home) / "services" / "tls" / "keystore.p12"),
            "keystore_password": state.security.store_password,
            "store_type": "PKCS12",
        }
    return {**chosen, **settings.cassandra_options}


def write_files(state: ServicesState, server: Server, settings: ServicesSettings) -> None:
    """Write cassandra.yaml (as JSON, which is YAML), which only the owner may read, and the log configuration."""
    folder = Path(server.folder)
    file = folder / "cassandra.yaml"
    file.touch(mode=0o600)
    file.write_text(json.dumps(configuration(state, server, settings), indent=2) + "\n", encoding="utf-8")
    (folder / "logback.xml").write_text(_LOGBACK.format(log=server.logs[0]), encoding="utf-8")


def start_command(
    java: Path, class_path: str, state: ServicesState, server: Server, settings: ServicesSettings
) -> list[str]:
    """Return the command that starts the node."""
    folder = Path(server.folder)
    alone = len(state.contact_points) == 1
    jamm = next(jar for jar in class_path.split(":") if "/jamm-" in jar)
    return [
        str(java),
        mark(Path(state.home), server.name),
        f"-Xms{settings.cassandra_heap_mb}m",
        f"-Xmx{settings.cassandra_heap_mb}m",
        "-XX:+UseSerialGC",  # two cores have no thread to spare for a concurrent collector
        "-XX:+ExitOnOutOfMemoryError",
        "-Xss512k",
        f"-XX:ErrorFile={folder / 'jvm-error.log'}",
        f"-javaagent:{jamm}",
        "-Djdk.attach.allowAttachSelf=true",
        *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTS),
        *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENS),
        "-Djava.net.preferIPv4Stack=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        f"-Dcassandra.config={(folder / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra.storagedir={folder / 'data'}",
        f"-Dlogback.configurationFile={folder / 'logback.xml'}",
        "-Dcassandra.superuser_setup_delay_ms=0",  # otherwise the first user is missing for ten seconds
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",  # otherwise it waits at least eight seconds
        # how long a joining node waits to hear from the others: 30 s by default; a single node need not wait
        f"-Dcassandra.ring_delay_ms={100 if alone else 3000}",
        # how long a leaving node waits until the others know: 2 s by default
        f"-Dcassandra.shutdown_announce_in_ms={0 if alone else 2000}",
        "-Dcassandra.consistent.rangemovement=false",  # a node may join while another is down
        *settings.java_options,
        "org.apache.cassandra.service.CassandraDaemon",
    ]
