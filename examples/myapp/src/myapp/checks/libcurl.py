"""libcurl, through pycurl."""

import pycurl


def check() -> None:
    """Ask libcurl for its version and protocols, and let it take an address."""
    info = pycurl.version_info()
    version, protocols = info[1], info[8]
    if int(version.split(".")[0]) < 7 or "https" not in protocols:
        raise RuntimeError(f"libcurl says it is version {version} and speaks {', '.join(protocols)}")
    handle = pycurl.Curl()
    try:
        handle.setopt(pycurl.URL, "https://localhost/")
        if handle.getinfo(pycurl.RESPONSE_CODE) != 0:
            raise RuntimeError("libcurl has an answer that nobody asked for")
    finally:
        handle.close()
