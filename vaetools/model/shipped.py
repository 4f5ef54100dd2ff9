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
        "a383fd35e2b227c33413e9cbeaf5578aa100302a9d2f4a887f19a8afff593b32",
        # photo-denoise denoise_sample
        "955295da3d606271901c346257773ce0d9a4ad54c06cb54ae9f4b865dd263338",
        # photo-denoise noise_level
        "9876219bd2241e49f23d68da4ed35d1f97147939d0d539e11ab3f1126276c348",
        # photo-inpaint inpaint
        "04a6c1ade799cd2b07206ebee13b86de91a67089053afc790d22c385ff48b0f4",
        # photo-inpaint inpaint_sample
        "ad9974d4fb7c3bf078a7f2eeb1a50234231e3a83dc174d77d3308e82a651694d",
    }
)
