"""QIDO-RS: which series a server has. Answers are DICOM in JSON (PS3.18 annex F)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from limnet.errors import ConfigError, RemoteError
from limnet.volume.dicomweb.address import Address, is_uid
from limnet.volume.dicomweb.client import Server
from limnet.volume.dicomweb.multipart import media_type

Entry = Mapping[str, Any]  # of an answer, by tag
Query = Mapping[str, str]  # what is searched for, by tag

JSON = "application/dicom+json"
STUDY, SERIES, PATIENT, MODALITY = "0020000D", "0020000E", "00100020", "00080060"
NUMBER, COUNT, DATE, DESCRIPTION = "00200011", "00201209", "00080021", "0008103E"
STUDY_DATE = "00080020"
INSTANCE = "00080018"
LEVELS = {  # what is searched: its filters, and what should be told of each
    "studies": ({PATIENT: "PatientID", MODALITY: "ModalitiesInStudy"}, (PATIENT,)),
    "series": (
        {PATIENT: "PatientID", SERIES: "SeriesInstanceUID", MODALITY: "Modality"},
        (COUNT, DATE, DESCRIPTION, PATIENT),
    ),
    "instances": ({}, (INSTANCE,)),
}
LACKING = (404, 405, 501)  # how servers say that they have no such search
MOST_PAGES = 1000  # of a search
MOST_PER_PAGE = 1000


@dataclass(frozen=True)
class Listed:
    """A series as the server tells of it."""

    address: Address
    modality: str
    number: str  # of the series in its study; "" unknown
    count: int | None  # of its instances; None when the server does not say
    date: str  # YYYYMMDD; "" unknown
    description: str  # free text, in which a patient may be named


@dataclass(frozen=True)
class Listing:
    """The series that match, and whether there are more."""

    series: tuple[Listed, ...]
    is_cut: bool


def list_series(
    server: Server, *, patient: str = "", study: str = "", modality: str = "", limit: int = 100
) -> Listing:
    """The series of a server that match all that is given; `patient` is a patient's id.

    Asked page by page, for some servers send fewer than they are asked for; and study by study where a server
    cannot search the series of all. RemoteError when it does not answer as DICOMweb; ConfigError when a UID
    is none.
    """
    address = server.address
    asked = {
        PATIENT: patient,
        STUDY: study or address.study,
        SERIES: address.series,
        MODALITY: modality.upper(),
    }
    wanted = {tag: value for tag, value in asked.items() if value}
    found: dict[str, Listed] = {}
    for query in _searches(server, wanted):
        for entry in _pages(server, query, limit + 1):
            listed = _listed(server, entry, query.get(STUDY, ""))
            if _matches(entry, wanted):
                found[listed.address.series] = listed
            if len(found) > limit:
                return Listing(tuple(found.values())[:limit], True)
    return Listing(tuple(found.values()), False)


def find_series(server: Server, series: str = "") -> Listed:
    """The one series that the server's address, or `series`, names; RemoteError when there is none.

    A UID/2 of a stack is taken for its series. Its instances are counted when the server does not tell their
    number.
    """
    uid, study = series.partition("/")[0] or server.address.series, server.address.study
    if not uid:
        raise ConfigError(
            f"{server.address}: names no series; give --series UID, or an address that ends in"
            f" /studies/UID/series/UID; limnet dicomweb list URL shows them"
        )
    wanted = {SERIES: uid} | ({STUDY: study} if study else {})
    for query in _searches(server, wanted):
        for entry in _pages(server, query, 2):
            if _matches(entry, wanted):
                listed = _listed(server, entry, query.get(STUDY, ""))
                return listed if listed.count is not None else replace(listed, count=_counted(server, listed))
    raise RemoteError(f"{server.address}: no series {uid}; limnet dicomweb list URL shows what there is")


def _searches(server: Server, wanted: Query) -> Iterator[Query]:
    """What to search for, one after another, so that together it finds the series wanted."""
    for tag, name in ((STUDY, "study"), (SERIES, "series")):
        if tag in wanted and not is_uid(wanted[tag]):
            raise ConfigError(
                f"{name} {wanted[tag]!r} is no UID; expected numbers and dots, such as 1.2.840.1"
            )
    if STUDY in wanted or _page(server, "/series", wanted, 1) is not None:
        yield wanted
        return
    seen: set[str] = set()
    for entry in _pages(server, wanted, MOST_PER_PAGE, path="/studies"):
        study = value_of(entry, STUDY)
        if is_uid(study) and study not in seen:
            seen.add(study)
            yield {**wanted, STUDY: study}


def _pages(server: Server, query: Query, limit: int, path: str = "") -> Iterator[Entry]:
    """What a search finds, page by page; ends where a page has nothing new."""
    path = path or (f"/studies/{query[STUDY]}/series" if STUDY in query else "/series")
    seen: set[tuple[str, str, str]] = set()
    offset = 0
    for _ in range(MOST_PAGES):
        page = _page(server, path, query, limit, offset)
        if page is None:
            raise RemoteError(
                f"{server.address.root}: 404, it has no {path.rpartition('/')[2]} there; check the UIDs and"
                f" the root, such as /dicom-web of Orthanc"
            )
        names = [(value_of(e, STUDY), value_of(e, SERIES), value_of(e, INSTANCE)) for e in page]
        if set(names) <= seen:  # the end; or the server knows no pages, and repeats itself
            return
        yield from (entry for entry, name in zip(page, names, strict=True) if name not in seen)
        seen |= set(names)
        offset += len(page)


def _page(server: Server, path: str, query: Query, limit: int, offset: int = 0) -> list[Entry] | None:
    """One answer of a search; None when the server has no such search."""
    level = path.rpartition("/")[2]
    filters, told = LEVELS[level]
    asked = {word: query[tag] for tag, word in filters.items() if tag in query}
    asked |= {"includefield": ",".join(told), "limit": str(limit)}
    asked |= {"offset": str(offset)} if offset else {}
    what = f"its list of {level}"
    with server.answer(what, path, accept=JSON, query=asked, accepted=(200, 204, *LACKING)) as response:
        if response.status_code in LACKING:
            return None
        body = server.text(response)
        if response.status_code == 204 or not body.strip():
            return []
        found = decoded(server, what, response.headers.get("content-type", ""), body)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise RemoteError(
            f"{server.address.root}: {what} is JSON, but not DICOM's; give the root of its DICOMweb services,"
            f" such as /dicom-web of Orthanc"
        )
    return found


def _counted(server: Server, listed: Listed) -> int | None:
    """How many instances a series has, by the list of them; None when the server cannot list them."""
    path = f"/studies/{listed.address.study}/series/{listed.address.series}/instances"
    try:
        count = sum(1 for entry in _pages(server, {}, MOST_PER_PAGE, path) if value_of(entry, INSTANCE))
    except RemoteError:  # the series may come all the same, with a warning
        return None
    return count or None


def _matches(entry: Entry, wanted: Query) -> bool:
    """False for what was not asked for: some servers leave out filters that they do not know."""
    for tag, meant in wanted.items():
        value = value_of(entry, tag)
        if value and value.strip() != meant and not any(sign in meant for sign in "*?"):
            return False
        if not value and tag == PATIENT:
            raise RemoteError(
                "a series is listed without its patient's id, so it may be anybody's; use --study in place of"
                " --patient"
            )
    return True


def value_of(entry: Entry, tag: str) -> str:
    """The first value of an element as text; "" when there is none."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    first = values[0] if isinstance(values, list) and values else None
    return str(first) if isinstance(first, (str, int, float)) else ""


def items_of(entry: Entry, tag: str) -> list[Entry]:
    """The items of a sequence; none when there is none."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def decoded(server: Server, what: str, content_type: str, body: bytes) -> Any:
    """DICOM JSON as Python has it; RemoteError when it is something else."""
    kind = media_type(content_type)[0]
    if kind not in (JSON, "application/json"):
        raise RemoteError(
            f"{server.address.root}: {what} comes as {kind[:60] or 'nothing known'}, expected {JSON};"
            f" is this the root of a DICOMweb server, such as /dicom-web of Orthanc?"
        )
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RemoteError(
            f"{server.address.root}: {what} is damaged JSON; ask again, or ask its operator"
        ) from None


def _listed(server: Server, entry: Entry, study: str) -> Listed:
    """One entry; its UIDs go into addresses, so they must be UIDs."""
    study, series = value_of(entry, STUDY) or study, value_of(entry, SERIES)
    if not is_uid(study) or not is_uid(series):
        raise RemoteError(f"{server.address.root}: lists a series without a valid UID; ask its operator")
    count = value_of(entry, COUNT)
    return Listed(
        server.address.at(study, series),
        "".join(filter(str.isprintable, value_of(entry, MODALITY)))[:16],
        "".join(filter(str.isprintable, value_of(entry, NUMBER)))[:12],
        int(count) if count.isdecimal() else None,
        "".join(filter(str.isdecimal, value_of(entry, DATE) or value_of(entry, STUDY_DATE)))[:8],
        "".join(filter(str.isprintable, value_of(entry, DESCRIPTION)))[:64],
    )
