"""Pages in the browser: `vaetools view` and `vaetools serve`.

Both listen on 127.0.0.1 only. `view` needs nothing beyond the standard library; modules of `serve`
need the extra `web`.

    pages      templates, style sheets and scripts, with those of the report
    shown      what `view` shows: `.vae` files, decoded when the page asks for them
    view       the server of `view`
"""
