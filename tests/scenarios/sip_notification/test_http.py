"""Servers are notified over HTTP: user and password, redirects, what they answer (guide 10.2.1-10.2.5)."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.webserver import Lighttpd, Nginx, htpasswd
from rtlib.testing.daemon import ROOT, wait_until

SCHEMA = json.loads((ROOT / "docs" / "notification.schema.json").read_text())
SECRET = "notify-secret"
LOGIN = {"notifyUser": "user", "notifyPassword": SECRET}
WRONG = {"notifyUser": "user", "notifyPassword": "wrong"}
PLAIN, BASIC, MOVED, MD5, SHA = 8001, 8002, 8003, 8004, 8005
CODES = (301, 302, 307, 308)


def servers(folder: Path, host: str) -> list[str]:
    """One that takes all, one with basic authentication, one that redirects in every way."""
    htpasswd(folder / "users", "user", SECRET)
    moved = "".join(
        f"location /{code} {{ return {code} http://{host}:{PLAIN}/to{code}; }}" for code in (*CODES, 303)
    )
    return [
        f"listen {host}:{PLAIN}; location / {{ $take }} location /unwanted {{ return 422; }}",
        f'listen {host}:{BASIC}; auth_basic "r"; auth_basic_user_file {folder}/users; location / {{ $take }} '
        "location /leave { return 307 /stay; }",
        f"listen {host}:{MOVED}; {moved} location /loop {{ return 302 /loop; }} "
        "location /nowhere { return 302 ''; } location /chain { return 307 /301; }",
    ]


def results(proxy: Genproxy) -> dict[str, str]:
    """What `notify test` says, by target."""
    return {row["target"]: row["result"] for row in proxy.reply("notify test")}


@pytest.mark.peer("nginx", "lighttpd", "openssl")
def test_user_password_redirects_and_answers(tmp_path: Path) -> None:
    host = own_host()
    base = f"http://{host}"
    md5, sha = f"{base}:{MD5}/take.sh", f"{base}:{SHA}/take.sh"
    targets: dict[str, dict[str, Any]] = {
        f"{host}:{PLAIN}": {"notifyUserAgent": "Night Watch"},
        f"{base}:{PLAIN}/?token=hidden": {"notifyUserAgent": ""},
        f"{base}:{PLAIN}/unwanted": {},
        f"{base}:{BASIC}": LOGIN,
        f"{base}:{BASIC}/leave": LOGIN,
        f"{base}:{BASIC}/nobody": {},
        f"{base}:{BASIC}/wrong": WRONG,
        md5: LOGIN,
        sha: LOGIN,
        f"{sha}?wrong": WRONG,
        **{f"{base}:{MOVED}/{code}": LOGIN for code in (*CODES, 303)},
        f"{base}:{MOVED}/chain": {},
        f"{base}:{MOVED}/loop": {},
        f"{base}:{MOVED}/nowhere": {},
        f"{base}:{MOVED}/302?no": {"notifyRedirect": False},
        f"{base}:9": {},
    }
    tables = {"notifications": [{"notifyURL": url, **more} for url, more in targets.items()]}
    with (
        Nginx(tmp_path / "nginx", host, servers(tmp_path, host), (PLAIN, BASIC, MOVED)) as nginx,
        Lighttpd(tmp_path / "md5", (host, MD5), ("user", SECRET), "MD5") as by_md5,
        Lighttpd(tmp_path / "sha", (host, SHA), ("user", SECRET), "SHA-256") as by_sha,
        Genproxy(tmp_path / "proxy", host=host, tables=tables) as proxy,
    ):
        assert results(proxy) == {
            f"{host}:{PLAIN}": "ok",
            f"{base}:{PLAIN}/": "ok",
            f"{base}:{PLAIN}/unwanted": "422",
            f"{base}:{BASIC}": "ok",
            f"{base}:{BASIC}/leave": "ok",
            f"{base}:{BASIC}/nobody": "401 Unauthorized",
            f"{base}:{BASIC}/wrong": "401 Unauthorized",
            md5: "ok",
            sha: "ok",
            f"{sha} (2)": "401 Unauthorized",
            **{f"{base}:{MOVED}/{code}": "ok" for code in (*CODES, 303)},
            f"{base}:{MOVED}/chain": "ok",
            f"{base}:{MOVED}/loop": "more than 5 redirects",
            f"{base}:{MOVED}/nowhere": "302 redirects to nowhere: there is no Location",
            f"{base}:{MOVED}/302 (2)": f"302 redirects to {base}:{PLAIN}, and notifyRedirect is off",
            f"{base}:9": "cannot connect: Connection refused",
        }

        def taken() -> list[list[dict[str, Any]]]:
            by_nginx = [
                (PLAIN, "/"),
                (BASIC, "/"),
                (BASIC, "/stay"),
                *((PLAIN, f"/to{code}") for code in CODES),
            ]
            return [*(nginx.told(*place) for place in by_nginx), by_md5.told, by_sha.told]

        def complete() -> bool:
            both = all({each["event"] for each in told} == {"state", "test"} for told in taken())
            return both and sum(each["path"] == "/to303" for each in nginx.requests) == 2

        # What was told at the start may come after the test; nginx writes its log after it has answered.
        wait_until(complete, 20)
        for each in itertools.chain(*taken()):
            jsonschema.validate(each, SCHEMA)
        requests = nginx.requests
        # A redirected POST stays one, with its content; only 303 asks for something else.
        assert {each["method"] for each in requests if each["path"] == "/to303"} == {"GET"}
        assert {each["method"] for each in requests if each["path"] != "/to303"} == {"POST"}
        agents = {each["path"]: each["agent"] for each in requests if each["port"] == str(PLAIN)}
        assert (agents["/"], agents["/?token=hidden"]) == ("Night Watch", "Genesis Proxy")
        # Nobody else gets the password, and the server itself only when it has asked.
        assert all(each["authorization"] == "" for each in requests if each["port"] != str(BASIC))
        first = next(each for each in requests if (each["port"], each["path"]) == (str(BASIC), "/"))
        assert (first["status"], first["authorization"]) == (401, "")

        rows = {row["target"]: row for row in proxy.reply("show notifications")}
        assert rows[f"{base}:{BASIC}"]["state"] == "ok"
        assert (rows[f"{base}:{BASIC}"]["sent"], rows[f"{base}:{BASIC}"]["queued"]) == (1, 0)
        unwanted = rows[f"{base}:{PLAIN}/unwanted"]
        assert (unwanted["state"], unwanted["refused"]) == ("ok", 1)
        loop = rows[f"{base}:{MOVED}/loop"]
        assert (loop["state"], loop["queued"], loop["error"]) == ("failing", 1, "more than 5 redirects")
        assert 0 <= loop["next"] <= 60
        assert proxy.metric("notifications_total", f'outcome="sent",target="{md5}"') == 1
        assert proxy.metric("notifications_total", f'outcome="failed",target="{base}:{MOVED}/loop"') >= 1
        assert proxy.metric("notifications_failing") == 7
        text = proxy.daemon.text + proxy.cli("show", "notifications")
        assert f"{base}:{MOVED}/loop was not notified: more than 5 redirects" in text
        assert f"{base}:{PLAIN}/unwanted did not want a notification: 422" in text
        for hidden in (SECRET, "token", "Traceback", "factory"):
            assert hidden not in text
