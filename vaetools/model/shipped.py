"""The graphs of the models that come with vaetools, as keys of `vaetools.model.checked`.

Written by `python -m tests.model.make_shipped`; a test checks these graphs, and that no key is missing
or left over.
"""

CHECKED: frozenset[str] = frozenset(
    {
        # mnist-conv encode
        "02e191af05b0eb9e34826ad7c552beeae59b09f8473d0891fe68e5ef1081dda9",
        # mnist-conv decode
        "a673330c1d221950bf4eb84662e2c7c025f38aa1ee1056f46d13f175111fdda2",
        # mnist-mlp encode
        "5a37efe5dfefa4ccacd9706ca1a47cb9de17d451433e297907b56cd8feebf74a",
        # mnist-mlp decode
        "0b860dcff9978c5ec0984ffa12e2656c3d58adfda706b41a084ee63a8329283a",
        # photo-codec analysis
        "bb3fb8a19487445a7a1e248db3bc3a46f9e235841c5403a4177ed7f3df463df7",
        # photo-codec hyper_analysis
        "6ea4150ac604d3c2818f55d3ceb0b2d5fe5516588a316aebdce9da70b77a6ecd",
        # photo-codec hyper_scale_index
        "144b514122692907d5eabeaf191b04e76025afac6c400670deaa4f8bc1d8c72d",
        # photo-codec hyper_mean
        "0bf2c5699a19649c7e77db491edc91cb57a79f6ee152e4c5aba6780c9941558a",
        # photo-codec context_mean
        "c785ba172799a5858f9e70f1280d864fe87eb9d5cde08d2a73e0b3646cd4cd83",
        # photo-codec synthesis
        "81802180003ff5169dbf4b682bfd0104b20d9732f8fc5e2ecf38f6ddca84d049",
        # photo-codec synthesis_gradient
        "bbe21d43a16224f611a5becd1f1af22a9d10089f339665466b0ba6643e40a3fb",
        # photo-denoise denoise
        "f7ba2f65fdc7c4bae77b0a07f7d9689f4ea4d6066ae33360ba6a9fbe5574fb5b",
        # photo-denoise denoise_sample
        "3eba37d6c6f2ac956ff226bfaccd27e21d523768d8fe784d2fffa3d46ee5f2df",
        # photo-denoise noise_level
        "bbc6c985dd6f83b12f064da8db96afab766da0fa19565d74d99e486fccc9a74a",
        # photo-inpaint inpaint
        "4a0f2af336f559a9963b3bb04546b46ee9574a4e50bf713fc152013eff8522eb",
        # photo-inpaint inpaint_sample
        "243195bc2a4d70ddd57b4a61adc8e61416eb9118fc5a9728a8ad4e19a5b30a0b",
    }
)
