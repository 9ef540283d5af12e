"""Authors the dashboards: `python -m grafana.authoring` writes grafana/dashboards/*.json anew."""
