"""What is shipped to set up the gateway fits the gateway, and its parts fit each other."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from lungct.command import main
from lungct_services.gateway.settings import GatewaySettings, read_gateway_settings
from tests.application_runs import ROOT

FOLDER = ROOT / "deploy" / "orthanc"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())


@pytest.mark.parametrize("name", ["gateway.yaml", "gateway-compose.yaml"])
def test_shipped_settings_are_valid(name: str) -> None:
    read_gateway_settings(FOLDER / name)


def test_the_command_of_the_guide_is_valid() -> None:
    text = (ROOT / "docs" / "how-to" / "scale-out.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert GatewaySettings.model_validate(yaml.safe_load(block)).runner.argv[0] == "docker"


def test_the_image_and_the_unit_start_a_command_that_exists() -> None:
    image = re.findall(r"^ENTRYPOINT (.*)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    unit = re.findall(r"^ExecStart=.*/(lungct .*)$", (FOLDER / "lungct-gateway.service").read_text(), re.M)
    for program, *arguments in (json.loads(image[0]), unit[0].split()):
        settings = ["--settings", str(FOLDER / "gateway.yaml")]
        assert program == "lungct"
        assert arguments[:-2] == ["gateway", "run"]
        assert CliRunner().invoke(main, [*arguments[:-2], *settings, "--help"]).exit_code == 0


def test_compose_mounts_what_is_there_and_what_the_settings_name() -> None:
    gateway = COMPOSE["services"]["gateway"]
    mounted = [volume.split(":")[0] for volume in gateway["volumes"]]
    assert all((FOLDER / path).exists() for path in mounted if path.startswith("."))
    settings = read_gateway_settings(FOLDER / "gateway-compose.yaml")
    secrets = [settings.orthanc.password_file, settings.web.token_file]
    assert [path.name for path in secrets if path] == gateway["secrets"]
    assert COMPOSE["networks"]["inside"]["internal"]


def test_published_ports_are_on_loopback_and_on_a_network_that_can_publish_them() -> None:
    for service in COMPOSE["services"].values():
        addresses = [port.rsplit(":", 2)[0] for port in service["ports"]]
        assert all(address in ("127.0.0.1", "${DICOM_ADDRESS:-127.0.0.1}") for address in addresses)
        networks = [COMPOSE["networks"][name] for name in service["networks"]]
        assert not all(network.get("internal") for network in networks)
        assert service["cap_drop"] == ["ALL"]
    ways_out = [
        network
        for network in map(COMPOSE["networks"].get, COMPOSE["services"]["gateway"]["networks"])
        if not network.get("internal")
    ]
    assert [way["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"] for way in ways_out] == [
        "false"
    ]


def test_no_process_of_the_service_can_read_the_password_from_a_file() -> None:
    assert "EnvironmentFile=/etc/lungct/orthanc.env" in (FOLDER / "lungct-gateway.service").read_text()
    assert read_gateway_settings(FOLDER / "gateway.yaml").orthanc.password_file is None


def test_the_unit_gives_the_drain_its_time() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "lungct-gateway.service")
    settings = read_gateway_settings(FOLDER / "gateway.yaml")
    assert float(unit["Service"]["TimeoutStopSec"]) > settings.drain_s
    assert settings.state_dir == Path("/var/lib") / unit["Service"]["StateDirectory"]


def test_the_application_image_has_no_gateway() -> None:
    assert not (ROOT / "app" / "gateway").exists()
    assert "gateway" not in (ROOT / "requirements.txt").read_text()
