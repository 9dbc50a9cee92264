"""Pictures of the dashboards, with data of a real Prometheus, by Grafana's own panel components in a real browser.

There is no Grafana server in them. `@grafana/ui` from npm draws each panel (`PanelChrome`, `TimeSeries`, `BigValue`) in
Grafana's dark theme, on the grid of the committed dashboard. The head of the page, with its variables, is not drawn.
"""
