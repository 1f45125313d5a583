"""The annotator's server: HTTP around `Annotation`; no algorithm lives here.

    request ─► safety ─► user ─► workspace ─► annotation ─► session
               host,     key      on disk,     one volume,   one object
               origin,   or       loads and    its objects
               sizes     cookie   unloads

`create_app()` makes the ASGI application, `run.serve()` runs it. What is shared and which lock guards it is
told in `workspace.py`.
"""
