"""HTTP for browsers and programs: one application on aiohttp with one security policy."""

from streammatte.web.server import WebServer, parse_address

__all__ = ["WebServer", "parse_address"]
