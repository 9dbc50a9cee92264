"""Real Apache Kafka and Apache Cassandra on loopback, with nothing but Python: jars, a Java wheel, processes.

    with Services(home) as services:
        KafkaProducer(bootstrap_servers=services.bootstrap)
        Cluster(services.contact_points, port=services.cassandra_port)

Imports nothing of the other rooms.
"""

from deploy.local.errors import ChoiceError, ServicesError
from deploy.local.services import Services
from deploy.local.settings import Protocol, Security, Server, ServicesSettings, ServicesState
from deploy.local.urls import urls

__all__ = [
    "ChoiceError",
    "Protocol",
    "Security",
    "Server",
    "Services",
    "ServicesError",
    "ServicesSettings",
    "ServicesState",
    "urls",
]
