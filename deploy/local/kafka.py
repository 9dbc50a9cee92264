"""Apache Kafka in KRaft mode: the files of a broker, and the commands that format and start it."""

from __future__ import annotations

from pathlib import Path

from deploy.local.settings import Security, Server, ServicesSettings, ServicesState
from deploy.local.system.processes import mark

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_COMMON = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "INTERNAL",
    "auto.create.topics.enable": "false",  # a mistyped topic is an error, not a new topic
    "group.initial.rebalance.delay.ms": "0",  # otherwise each first join takes three seconds
    # A broker that was killed may come back only when its last session has ended: 9 s by default, 2 s a heartbeat.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "offsets.topic.num.partitions": "4",  # 50 by default, which takes more files and time than one machine needs
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",  # 128 MB by default, half of a small heap
}
_LOG4J = """\
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
"""


def properties(state: ServicesState, server: Server, settings: ServicesSettings) -> dict[str, str]:
    """Return the server.properties of one broker."""
    brokers = [entry for entry in state.servers if entry.name.startswith("kafka-")]
    copies, in_sync = (3, 2) if len(brokers) >= 3 else (1, 1)
    voters = [f"{_id(entry)}@{entry.host}:{entry.ports['controller']}" for entry in brokers]
    listeners = [f"{kind.upper()}://{server.host}:{port}" for kind, port in server.ports.items()]
    states = ("transaction.state.log", "share.coordinator.state.topic")
    return {
        **_COMMON,
        "node.id": str(_id(server)),
        "controller.quorum.voters": ",".join(voters),
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(entry for entry in listeners if not entry.startswith("CONTROLLER")),
        "log.dirs": str(Path(server.folder) / "data"),
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(in_sync),
        **{f"{topic}.replication.factor": str(copies) for topic in ("offsets.topic", *states)},
        **{f"{topic}.min.isr": str(in_sync) for topic in states},  # the offsets' is min.insync.replicas
        **_security(state),
        **settings.kafka_options,
    }


def _security(state: ServicesState) -> dict[str, str]:
    security = state.security
    sasl = security.kafka_protocol.startswith("SASL")
    among = "SASL_PLAINTEXT" if sasl else "PLAINTEXT"  # brokers talk on loopback, but anybody could on these ports
    chosen = {"listener.security.protocol.map": f"CLIENT:{security.kafka_protocol},INTERNAL:{among},CONTROLLER:{among}"}
    if sasl:
        user, password = security.kafka_user, security.kafka_password
        chosen["sasl.enabled.mechanisms"] = ",".join(_MECHANISMS)
        chosen["sasl.mechanism.inter.broker.protocol"] = chosen["sasl.mechanism.controller.protocol"] = "PLAIN"
        # Whoever signs in as another user than ours may do nothing that no rule allows.
        chosen["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        chosen["super.users"] = f"User:{user}"
        modules = {
            "plain": f'plain.PlainLoginModule required username="{user}" password="{password}" '
            f'user_{user}="{password}"',
            "scram-sha-256": "scram.ScramLoginModule required",
            "scram-sha-512": "scram.ScramLoginModule required",
        }
        asked = [("client", mechanism) for mechanism in modules] + [("internal", "plain"), ("controller", "plain")]
        for listener, mechanism in asked:
            key = f"listener.name.{listener}.{mechanism}.sasl.jaas.config"
            chosen[key] = f"org.apache.kafka.common.security.{modules[mechanism]};"
        for listener in ("internal", "controller"):
            chosen[f"listener.name.{listener}.sasl.enabled.mechanisms"] = "PLAIN"
    if security.kafka_tls:
        chosen["ssl.keystore.type"] = "PKCS12"
        chosen["ssl.keystore.location"] = str(Path(state.home) / "services" / "tls" / "keystore.p12")
        chosen["ssl.keystore.password"] = security.store_password or ""
    return chosen


def write_files(state: ServicesState, server: Server, settings: ServicesSettings) -> None:
    """Write server.properties, which only the owner may read because of its passwords, and the log configuration."""
    folder = Path(server.folder)
    lines = [f"{key}={value}" for key, value in properties(state, server, settings).items()]
    file = folder / "server.properties"
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "log4j2.properties").write_text(_LOG4J.format(log=server.logs[0]), encoding="utf-8")


def is_formatted(server: Server) -> bool:
    """Return whether the data folder belongs to a cluster already."""
    return (Path(server.folder) / "data" / "meta.properties").exists()


def format_command(java: Path, server: Server, cluster_id: str, security: Security) -> list[str]:
    """Return the command that adds the data folder to the cluster. Its first records hold the SCRAM passwords.

    The arguments are in a file that only the owner may read, and that `java` itself reads: everybody on the machine may
    read a command line. Remove the file `format_file` afterwards.
    """
    command = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "kafka.tools.StorageTool", "format"]
    command += ["-t", cluster_id, "-c", str(Path(server.folder) / "server.properties")]
    if security.kafka_protocol.startswith("SASL"):
        for mechanism in _MECHANISMS[1:]:
            user, password = security.kafka_user, security.kafka_password
            command += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
    file = format_file(server)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    quoted = ('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in command)
    file.write_text("\n".join(quoted) + "\n", encoding="utf-8")
    return [str(java), f"@{file}"]


def format_file(server: Server) -> Path:
    """The file with the arguments of `format_command`."""
    return Path(server.folder) / "format.args"


def start_command(java: Path, state: ServicesState, server: Server, settings: ServicesSettings) -> list[str]:
    """Return the command that starts the broker."""
    brokers = sum(entry.name.startswith("kafka-") for entry in state.servers)
    heap_mb = settings.kafka_heap_mb or (320 if brokers > 1 else 512)
    folder = Path(server.folder)
    return [
        str(java),
        mark(Path(state.home), server.name),
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",  # two cores have no thread to spare for a concurrent collector
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={folder / 'jvm-error.log'}",
        f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
        *settings.java_options,
        "kafka.Kafka",
        str(folder / "server.properties"),
    ]


def _id(server: Server) -> int:
    return int(server.name.rpartition("-")[2])
