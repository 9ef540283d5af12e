"""Write every dashboard's JSON anew."""

import sys

from grafana.authoring.writing import DASHBOARDS_FOLDER, dashboards

for name, content in dashboards().items():
    (DASHBOARDS_FOLDER / name).write_text(content, encoding="utf-8")
    sys.stdout.write(f"{DASHBOARDS_FOLDER / name}\n")
