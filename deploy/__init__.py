"""What operates it: real services on one machine (`deploy.local`), containers, topics, migrations, dashboards."""
