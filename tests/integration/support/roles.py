"""Logins at head office: a box's by the operator's script, a service's by the database's function."""

import os
import pathlib
import shlex
import subprocess

from box import ROOT
from central import as_user

PSQL = ["/usr/bin/psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
SERVICES = {  # permissions on the broker: configure, write, read
    "inventory": ("^$", "^order[.]dlx$", "^inventory[.]order[.]queue$"),
    "notification": ("^$", "^order[.]dlx$", "^notification[.]order[.]queue$"),
}


def psql(url, sql):
    """(what psql prints, what it complains about)"""
    done = subprocess.run([*PSQL, url, "-f", "-"], input=sql, capture_output=True, text=True,
                          check=False, cwd="/", **as_user("postgres"))
    assert done.returncode == 0 or done.stderr, done
    return done.stdout.strip(), done.stderr.strip()


def url_of(office, login):
    return office.postgres_url.replace("postgres@", f"{login}@")


def operators_commands(office, folder):
    """How the scripts reach this head office."""
    rabbitmqctl = pathlib.Path(folder) / "rabbitmqctl"
    settings = [f"{key}={value}" for key, value in office.rabbit._environment().items()]
    rabbitmqctl.write_text(f"#!/bin/sh\nexec env {shlex.join(settings)}"
                           " /usr/lib/rabbitmq/bin/rabbitmqctl \"$@\"\n")
    rabbitmqctl.chmod(0o755)
    return {"PSQL": shlex.join(["/usr/bin/psql", office.postgres_url]),
            "RABBITMQCTL": str(rabbitmqctl), "VHOST": office.name}


def add_box(office, device, folder):
    """Runs tools/add-box.sh; returns the settings for the box's bridge."""
    secrets = pathlib.Path(folder) / device
    done = subprocess.run([ROOT / "tools" / "add-box.sh", device, secrets], capture_output=True,
                          text=True, check=False,
                          env={**os.environ, **operators_commands(office, folder)})
    assert done.returncode == 0, done
    office.logins.add(f"box-{device}")
    amqp_url = f"amqp://box-{device}@127.0.0.1:{office.rabbit.port}/{office.name}"
    return {"TILLBOX_POSTGRES_URL": url_of(office, f"box-{device}"),
            "TILLBOX_POSTGRES_PASSWORD_FILE": str(secrets / "postgres_password"),
            "TILLBOX_AMQP_URL": amqp_url,
            "TILLBOX_AMQP_PASSWORD_FILE": str(secrets / "amqp_password")}


def add_service(office, name, tags="impersonator"):
    """The settings of a service with a login of its own."""
    login = f"{name}-{office.name}"
    office.query(f"SELECT tillbox_add_login('{login}', 'tillbox_{name}', 'secret')")
    office.api("PUT", f"/users/{login}", {"password": office.rabbit.password, "tags": tags})
    office.allow(login, *SERVICES[name])
    office.logins.add(login)
    return {"TILLBOX_POSTGRES_URL": url_of(office, login),
            "TILLBOX_AMQP_URL": office.rabbit.url_of(office.name, user=login)}


def add_reader(office):
    login = f"reader-{office.name}"
    office.query(f"SELECT tillbox_add_login('{login}', 'tillbox_reader', 'secret')")
    office.logins.add(login)
    return url_of(office, login)


def remove_logins(office):
    for login in office.logins:
        office.query(f'DROP OWNED BY "{login}"; DROP ROLE "{login}"')
    for user in office.api("GET", "/users"):
        if user["name"] in office.logins:
            office.api("DELETE", f"/users/{user['name']}")
