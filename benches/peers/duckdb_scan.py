"""DuckDB with its scanner, for `cargo bench --bench fullscan`.

Stores are attached and queries answered as in duckdb_peer.py. Besides, `{"scan": sql}` reads the result as Arrow batches, each of
which is dropped as soon as it has come, and answers with their number of rows and the time. The batches are taken by Arrow's C
stream interface, which needs no Arrow library.
"""

import ctypes
import json
import sys
import time

import duckdb
from duckdb_peer import ask, attach


class Array(ctypes.Structure):
    """https://arrow.apache.org/docs/format/CDataInterface.html"""


Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.c_void_p),
    ("children", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(Array))),
    ("private_data", ctypes.c_void_p),
]


class Stream(ctypes.Structure):
    """https://arrow.apache.org/docs/format/CStreamInterface.html"""


Stream._fields_ = [
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.c_void_p)),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(Stream))),
    ("private_data", ctypes.c_void_p),
]

pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype = ctypes.c_void_p
pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


def scan(connection, sql):
    started = time.perf_counter()
    # The capsule owns the stream and releases it.
    capsule = connection.sql(sql).__arrow_c_stream__()
    stream = Stream.from_address(pointer_of(capsule, b"arrow_array_stream"))
    rows = 0
    while True:
        batch = Array()
        if stream.get_next(ctypes.byref(stream), ctypes.byref(batch)):
            return {"error": (stream.get_last_error(ctypes.byref(stream)) or b"no reason").decode()}
        if not batch.release:
            break
        rows += batch.length
        batch.release(ctypes.byref(batch))
    return {"rows": rows, "elapsed_ms": (time.perf_counter() - started) * 1000}


def main():
    connection = None
    for line in sys.stdin:
        wanted = json.loads(line)
        try:
            if connection is None:
                connection = attach(wanted["stores"])
                answer = {"version": duckdb.__version__}
            elif "scan" in wanted:
                answer = scan(connection, wanted["scan"])
            else:
                answer = ask(connection, wanted["sql"], wanted["limit_s"])
        except Exception as error:  # whatever it is, the reader of the answer must hear it
            answer = {"error": str(error).strip()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
