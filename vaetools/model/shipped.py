"""The graphs of the models that come with vaetools, as keys of `vaetools.model.checked`.

Written by `python -m tests.model.make_shipped`; a test checks these graphs, and that no key is missing
or left over.
"""

CHECKED: frozenset[str] = frozenset(
    {
        # mnist-conv encode
        "045b6e41155e13a5c26d00e29f639ae20b81c6c84ce5d231ef830fd1afde90e5",
        # mnist-conv decode
        "368782c86df09d34958cc5dc792f44aafb2f6b8a8837b47789f69c39d4271d5e",
        # mnist-mlp encode
        "41e81a16c688c9249a397cc3eeafd7e844f59256f87eba88029e771568fb984e",
        # mnist-mlp decode
        "d92a30a841d8ba182a43ff8cc11f5623b4de9b3462542b0c3a736c17fddbb908",
        # photo-codec analysis
        "d7486b10e57100a3caea27711125cffefc86e5ed2a8882ab7954c96bdf7d932e",
        # photo-codec hyper_analysis
        "ef0fa140fd859d67a6ff6ff527f7f1927d5eaf10f81029d14f471f305a9d3f4c",
        # photo-codec hyper_scale_index
        "fd32a8b25213ac03539d5fa295d2735c5d405d509f5daf9c430f4ed515dab943",
        # photo-codec hyper_mean
        "a35d24bc2757f8aaac096a355a51e868f627ca9b13fa4191b3d9b6bfb4e8a8f0",
        # photo-codec context_mean
        "c3164ace9970f138a13f844e82bf33c6bcbc5518b40ecd8177b39250baa575c1",
        # photo-codec synthesis
        "331d81e3ba1ac9b67c367793e22d32a9639693dce8258d7726942b9da86feaa2",
        # photo-codec synthesis_gradient
        "211b2347326026398734393f66515eb187e927947d0c3ec2c20d0bb46cdd77cf",
        # photo-denoise denoise
        "46088e61f09eb91828c33c10fcd2d00a0e3d005d89027e7ae74ab00931846161",
        # photo-denoise denoise_sample
        "d88bc7a86c3dcc0fad99d95d676dc62c9d3475c41aa444be64f45319de4b1267",
        # photo-denoise noise_level
        "c118291848616328511ecca3f5cf3c663cbc729fdabea2124a9da93c4555ac36",
        # photo-inpaint inpaint
        "6d2fb2e1ff9b7fc0c9dc2e27071f1ba933c18e6078c8b3ad4d935a7ad528df79",
        # photo-inpaint inpaint_sample
        "cd0d9686290deeebf7b7e920235b565cd5dd399fd7643ac6bd986e64eea377c0",
    }
)
