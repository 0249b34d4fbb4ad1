"""Models over HTTP: `build_app(server)` is an ASGI application that answers for images."""
