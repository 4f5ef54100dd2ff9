"""The graphs of the models that come with vaetools, as keys of `vaetools.model.checked`.

Written by `python -m tests.model.make_shipped`; a test checks these graphs, and that no key is missing
or left over.
"""

CHECKED: frozenset[str] = frozenset(
    {
        # mnist-conv encode
        "e302fc99003803b66196b71021923ed366bb05f65b368ffe3781e82533158ee1",
        # mnist-conv decode
        "3b8c549562f99ffea9ed0906e66485fda368f6836aef379e6014f1ab0d97bbfc",
        # mnist-mlp encode
        "eedbf4bae8cf9eceacc8fb02992c35514dc1a526788ba4aa09a0462199a6abc1",
        # mnist-mlp decode
        "3d9543b85e9392ce7a5e04b2b5ba971a7d8bd8b4fe448f833916c8ac8caa0638",
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
        "1403aef5fab8b20b06dc55c6304b72ab9bea9f2f020cccd7e6cfefea327469c8",
        # photo-denoise denoise_sample
        "6a150cb0bf350f99059859bae4f610924606227f5a2a46047cac83a46907acbd",
        # photo-denoise noise_level
        "751e543337cc64b294e68a9e89b60a86748ad426bae523a8638765ed6dfd1192",
        # photo-inpaint inpaint
        "04a6c1ade799cd2b07206ebee13b86de91a67089053afc790d22c385ff48b0f4",
        # photo-inpaint inpaint_sample
        "ad9974d4fb7c3bf078a7f2eeb1a50234231e3a83dc174d77d3308e82a651694d",
    }
)
