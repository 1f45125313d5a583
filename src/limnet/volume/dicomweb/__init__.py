"""DICOMweb: series from a hospital's server (QIDO-RS, WADO-RS), and results onto it (STOW-RS).

A series is fetched into a folder, and read by the reader of folders: its geometry is the same.
"""

from limnet.volume.dicomweb.address import Address, url_in
from limnet.volume.dicomweb.client import Server
from limnet.volume.dicomweb.connection import Connection
from limnet.volume.dicomweb.fetch import fetch
from limnet.volume.dicomweb.query import Listed, Listing, find_series, list_series
from limnet.volume.dicomweb.store import items_to_store, store

__all__ = [
    "Address",
    "Connection",
    "Listed",
    "Listing",
    "Server",
    "fetch",
    "find_series",
    "items_to_store",
    "list_series",
    "store",
    "url_in",
]
