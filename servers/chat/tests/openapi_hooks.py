"""What schemathesis does not know of the chat server: how requests are signed (SPEC.md, "Signed requests")."""

import hashlib
import os
import time
from urllib.parse import parse_qs, urlsplit

import openapi_media  # noqa: F401 (it registers what it has)
import schemathesis
from nacl.signing import SigningKey
from requests.auth import AuthBase

DEVICE = SigningKey(bytes.fromhex(os.environ["KEZ_API_DEVICE"]))


class Signed(AuthBase):
    last = 0

    def __call__(self, request):
        url = urlsplit(request.url)
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        since = parse_qs(url.query, keep_blank_values=True).get("since")
        bound = []
        if body or request.method in ("POST", "PUT"):
            bound = [f"sha256={hashlib.sha256(body).hexdigest()}"]
        elif since:
            bound = [f"since={since[0]}"]
        # A signature counts once, so no two requests have the same time.
        Signed.last = max(Signed.last + 1, int(time.time() * 1000))
        origin = f"{url.scheme}://{url.netloc}"
        text = "\n".join(["KEZ1-AUTH", origin, request.method, url.path, *bound, str(Signed.last)])
        sig = DEVICE.sign(text.encode("utf-8", "surrogatepass")).signature.hex()
        key = DEVICE.verify_key.encode().hex()
        request.headers["Authorization"] = f"KEZ device={key},ts={Signed.last},sig={sig}"
        return request


@schemathesis.hook
def before_call(ctx, case, kwargs):
    kwargs["auth"] = Signed()
