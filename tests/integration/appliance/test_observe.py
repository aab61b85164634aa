"""The alert rules and the dashboard of head office ask for what the programs really tell."""

import json
import re
import subprocess

import pytest
import yaml

from box import ROOT
from box import call
from box import wait_until
from service import Service

PROMETHEUS = ROOT / "firmware-config" / "central" / "prometheus"
GRAFANA = ROOT / "firmware-config" / "central" / "grafana"
BROKERS = {"rabbitmq_detailed_queue_messages"}  # asked of the real broker by the containers' test


def alerts():
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads((GRAFANA / "dashboards" / "tillbox.json").read_text())


def expressions():
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return panels + [rule["expr"] for rule in alerts()]


def names_in(expression):
    return set(re.findall(r"\b(?:tillbox|rabbitmq)_[a-z0-9_]+", expression))


@pytest.mark.parametrize("arguments", [
    ["check", "config", PROMETHEUS / "prometheus.yml"], ["check", "rules", PROMETHEUS / "alerts.yml"],
    ["test", "rules", ROOT / "tests" / "alerts" / "alerts_test.yml"]], ids=["config", "rules", "test"])
def test_prometheus_takes_the_rules_and_each_alert_fires(arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done


def test_every_alert_is_tested():
    tested = (ROOT / "tests" / "alerts" / "alerts_test.yml").read_text()
    assert alerts() and all(f'alertname="{rule["alert"]}"' in tested for rule in alerts())


def test_every_alert_has_its_page_in_the_operators_book():
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for rule in alerts():
        file, anchor = rule["annotations"]["runbook"].split("#")
        assert file == "docs/OPERATIONS.md" and anchor in anchors, rule["alert"]
        assert f"`{rule['alert']}`" in text, rule["alert"]


def check_metrics(text):
    """Prometheus can read it, and finds nothing to complain about."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done


def test_every_metric_that_is_asked_for_is_told(box, office, make_bridge, make_inventory, tmp_path):
    bridge = make_bridge(box.data_dir, office)
    inventory = make_inventory(office)
    notification = Service(tmp_path, office, "notification", "--status-listen").start()
    try:
        wait_until(lambda: "tillbox_notifications_failed" in notification.get("/metrics").text,
                   what="the first look at the database")
        ports = (box.orders_port, bridge.port, inventory.port, notification.port)
        pages = [call(port, "GET", "/metrics").text for port in ports]
    finally:
        assert notification.stop() == 0
    for page in pages:
        check_metrics(page)
    told = set().union(*map(names_in, pages))
    asked = set().union(*map(names_in, expressions()))
    assert asked - BROKERS - told == set()


def test_the_dashboard_is_provisioned_and_asks_the_provisioned_source():
    source, = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yml").read_text())["datasources"]
    provider, = yaml.safe_load((GRAFANA / "dashboards" / "tillbox.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = [volume.split(":")[1] for volume in compose["grafana"]["volumes"]]
    assert any(provider["options"]["path"].startswith(mount) for mount in mounts)
    assert source["url"] == "http://prometheus:9090" and "prometheus" in compose
    assert all(panel["datasource"]["uid"] == source["uid"] for panel in dashboard()["panels"])


def test_prometheus_asks_where_the_services_listen():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        host, port = job["static_configs"][0]["targets"][0].split(":")
        service = compose[host]
        if host != "rabbitmq":
            assert service["environment"]["TILLBOX_ALLOWED_HOSTS"] == host
            assert any(str(value).endswith(f":{port}") and value.startswith("0.0.0.0")
                       for value in service["environment"].values())
