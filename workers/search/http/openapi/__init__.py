"""The OpenAPI description of the service, which `/openapi.json` serves."""
