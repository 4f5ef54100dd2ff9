"""Pages in the browser: `vaetools view` and `vaetools serve`.

Both listen on 127.0.0.1 only. `view` needs nothing beyond the standard library; what serves the page
of `serve` needs the extra `web`.

    pages      templates, style sheets and scripts, with those of the report
    shown      what `view` shows: `.vae` files, decoded when the page asks for them
    view       the server of `view`

    limits     what `serve` accepts, and its errors
    worker     the process that decodes uploads and runs operations
    processes  starts, asks and ends it
    guard      token, Host, Origin, security headers
    protocol   limits of time for a connection
    uploads    files that arrive
    requests   options as JSON, checked
    jobs       the queue of runs
    forms      the page's fields, from `Options`
    openapi    the description of the interface
    downloads  files that are sent
    app        routes
    serve      socket, private folder, uvicorn
"""
