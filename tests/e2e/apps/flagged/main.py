"""A service that asks for flags: with the kit that lies beside it, over OFREP, and as somebody else. For tests."""

import json
import os
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from atoll.kit.flags import FlagClient

flags = FlagClient(os.environ["FLAGS_URL"], cache_dir="/tmp/flags") if "FLAGS_URL" in os.environ else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        answer = {"/healthz": healthy, "/kit": kit, "/ofrep": ofrep, "/raw": raw}[url.path]
        status, said, headers = answer(query)
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def healthy(_):
    return 200, {}, {}


def kit(query):
    found = flags.details("new", "none", {"targetingKey": query.get("user", "")})
    status = 500 if query.get("fails") == found.variant else 200
    said = {"variant": found.variant, "reason": found.reason, "age": flags.age, "problem": flags.problem}
    headers = {"x-atoll-flag": f"new={found.variant}"} if "releasing" in found.metadata else {}
    return status, said, headers


def ofrep(query):
    body = json.dumps({"context": {"targetingKey": query.get("user", "")}}).encode()
    url = f"{os.environ['OFREP_ENDPOINT']}/ofrep/v1/evaluate/flags/{query['flag']}"
    return ask(urllib.request.Request(url, body, {"content-type": "application/json"}))


def raw(query):
    headers = {"x-atoll-caller": query["as"]} if "as" in query else {}
    return ask(urllib.request.Request(os.environ.get("FLAGS_URL", "http://flags") + query["path"], headers=headers))


def ask(request):
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read()), {}
    except urllib.error.HTTPError as error:
        return error.code, {"refused": error.read().decode()}, {}


ThreadingHTTPServer((os.environ.get("HOST", "0.0.0.0"), int(os.environ["PORT"])), Handler).serve_forever()
