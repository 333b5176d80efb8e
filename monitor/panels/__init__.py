"""One description of everything worth looking at; Grafana's panels, Prometheus' rules, runbooks and the built-in page
are made from it. All of it decides only: text and data in, text and data out."""
