# The operations of a hub as typed methods. Generated; do not edit.
#
#   vaetools plugins stubs --built-in

from pathlib import Path
from typing import Any, Literal, overload

from numpy.typing import NDArray

from vaetools.operation.step import FileLike, ImageLike, MapLike
from vaetools.restoration import Restored

class HubMethods:
    """What type checkers see of `Hub`; at run time it makes these methods from the plugins."""

    @overload
    def augment(
        self,
        image: ImageLike,
        *,
        n: int = 8,
        strength: float = 0.5,
        levels: Literal["fine", "all"] = "fine",
        seed: int = 0,
        manifest: Literal[False] = False,
        tag: bool = False,
        masks: None = None,
        labels: None = None,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> list[NDArray[Any]]:
        """Make augmented copies of images by perturbing their latents.

        A copy is the image plus the change of its reconstruction when the latents are
        perturbed: nothing is blurred, and at strength 0 nothing changes. Folders, and so class
        labels, are kept.

        A copy depends only on the seed, on the path of the image and on its number.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            n: Number of copies of each image [1 … 9999]. Default: 8.
            strength: Size of the perturbation; 0 changes nothing [0 … 1]. Default: 0.5.
            levels: Latents to perturb: the fine ones (grain, texture), or all. Default: 'fine'.
            seed: Random seed. Default: 0.
            manifest: Also write the provenance of each copy, *_aug.jsonl. Default: False.
            tag: Mark copies as generated (IPTC Digital Source Type); needs --manifest. Default:
                False.
            masks: Folder with a mask for each image, of the same name: copied to OUT/masks
                under the names of the copies.
            labels: Folder with labels of the same names (.txt, .xml, .json), or a COCO file:
                written next to the copies under their names.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """
    @overload
    def augment(
        self,
        image: ImageLike,
        *,
        n: int = 8,
        strength: float = 0.5,
        levels: Literal["fine", "all"] = "fine",
        seed: int = 0,
        manifest: bool = False,
        tag: bool = False,
        masks: str | Path | None = None,
        labels: str | Path | None = None,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> list[bytes] | list[NDArray[Any] | bytes]:
        """Make augmented copies of images by perturbing their latents.

        A copy is the image plus the change of its reconstruction when the latents are
        perturbed: nothing is blurred, and at strength 0 nothing changes. Folders, and so class
        labels, are kept.

        A copy depends only on the seed, on the path of the image and on its number.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            n: Number of copies of each image [1 … 9999]. Default: 8.
            strength: Size of the perturbation; 0 changes nothing [0 … 1]. Default: 0.5.
            levels: Latents to perturb: the fine ones (grain, texture), or all. Default: 'fine'.
            seed: Random seed. Default: 0.
            manifest: Also write the provenance of each copy, *_aug.jsonl. Default: False.
            tag: Mark copies as generated (IPTC Digital Source Type); needs --manifest. Default:
                False.
            masks: Folder with a mask for each image, of the same name: copied to OUT/masks
                under the names of the copies.
            labels: Folder with labels of the same names (.txt, .xml, .json), or a COCO file:
                written next to the copies under their names.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """

    def compress(
        self,
        image: ImageLike,
        *,
        quality: float | None = None,
        bpp: float | None = None,
        psnr: float | None = None,
        target_size: str | None = None,
        roi: MapLike | None = None,
        roi_drop: float = 40,
        refine: int = 0,
        keep_smaller: bool = False,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> bytes:
        """Compress photographs with a learned codec.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            quality: From smallest (0) to best (100); 75 if no target is given [0 … 100].
            bpp: Target bits per pixel [0.001 … 64].
            psnr: Target PSNR in decibels [1 … 60].
            target_size: Largest file size, such as 40k.
            roi: Region of interest: a mask, a folder of masks, or a pattern as {stem}_roi.png;
                white keeps its quality.
            roi_drop: Quality that black parts of --roi lose [1 … 100]. Default: 40.
            refine: Passes that search for better latents; 1 takes 3 times as long, 8 take 18
                times [0 … 64]. Default: 0.
            keep_smaller: Store the source file itself where the coded image would be larger.
                Default: False.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """

    def decompress(
        self,
        data: FileLike,
        *,
        to: Literal["png", "jpg", "webp", "tiff", "avif", "jxl", "same"] = "png",
        region: tuple[int, int, int, int] | str | None = None,
        preview: bool = False,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> NDArray[Any]:
        """Decode .vae files.

        Args:
            data: the bytes of a file, or its path.
            to: Format of the images; same: that of the source. Default: 'png'.
            region: Decode only this part, in pixels from the top left corner.
            preview: Decode a rough image from the first part of each file; the rest may be
                missing. Default: False.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """

    @overload
    def denoise(
        self,
        image: ImageLike,
        sigma: MapLike | float = "auto",
        *,
        strength: float = 1.0,
        samples: Literal[0] = 0,
        uncertainty: Literal[False] = False,
        seed: int = 0,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> NDArray[Any]:
        """Remove noise from images.

        The result is the posterior mean. Posterior samples have the grain and detail that the
        mean averages out. In files, the uncertainty map is greyscale with 16 bits: its value
        divided by 256 is half the width of a 90 % interval, on the 0–255 scale.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            sigma: Noise level: standard deviation on the 0–255 scale; auto: estimated; photo:
                for camera noise; local: estimated for each region; or a map: a greyscale image,
                a folder of them, or a pattern for files next to each image, as
                {stem}_sigma.png. Default: 'auto'.
            strength: Share of the noise to remove; 0 leaves the image unchanged [0 … 1].
                Default: 1.0.
            samples: Number of posterior samples to write [0 … 64]. Default: 0.
            uncertainty: Also write a per-pixel uncertainty map. Default: False.
            seed: Random seed of the samples. Default: 0.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """
    @overload
    def denoise(
        self,
        image: ImageLike,
        sigma: MapLike | float = "auto",
        *,
        strength: float = 1.0,
        samples: int = 0,
        uncertainty: bool = False,
        seed: int = 0,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> Restored[NDArray[Any]]:
        """Remove noise from images.

        The result is the posterior mean. Posterior samples have the grain and detail that the
        mean averages out. In files, the uncertainty map is greyscale with 16 bits: its value
        divided by 256 is half the width of a 90 % interval, on the 0–255 scale.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            sigma: Noise level: standard deviation on the 0–255 scale; auto: estimated; photo:
                for camera noise; local: estimated for each region; or a map: a greyscale image,
                a folder of them, or a pattern for files next to each image, as
                {stem}_sigma.png. Default: 'auto'.
            strength: Share of the noise to remove; 0 leaves the image unchanged [0 … 1].
                Default: 1.0.
            samples: Number of posterior samples to write [0 … 64]. Default: 0.
            uncertainty: Also write a per-pixel uncertainty map. Default: False.
            seed: Random seed of the samples. Default: 0.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """

    def generate(
        self,
        *,
        n: int = 16,
        seed: int = 0,
        temperature: float = 1.0,
        grid: bool = False,
        height: int | None = None,
        width: int | None = None,
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> list[NDArray[Any]]:
        """Draw images from the prior of a model: decoder means, without pixel noise.

        An image is the decoder's output for one latent from N(0, temperature²): the mean of
        p(image | latent), without the per-pixel noise of that distribution, as in figure 5 of
        Kingma & Welling, "Auto-Encoding Variational Bayes", 2014.

        The latent depends only on the seed and on the name of the image: `0005.png` is the same
        among 8 as among 16 images, and in a grid.

        Args:
            n: Number of images [1 … 100000]. Default: 16.
            seed: Random seed. Default: 0.
            temperature: Standard deviation of the latents [0 … 2]. Default: 1.0.
            grid: Write one image, grid.png, with all of them. Default: False.
            height: Size in pixels, for models without a fixed size [at least 1].
            width: Size in pixels, for models without a fixed size [at least 1].
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """

    @overload
    def inpaint(
        self,
        image: ImageLike,
        mask: MapLike,
        *,
        mask_hole: Literal["white", "black"] = "white",
        missing_mask: Literal["fail", "copy"] = "fail",
        fill: Literal["mean", "texture"] = "mean",
        grow: int = 0,
        feather: float = 0.0,
        samples: Literal[0] = 0,
        uncertainty: Literal[False] = False,
        seed: int = 0,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> NDArray[Any]:
        """Fill holes in images: scratches, text, dust and other small damage.

        The result is the posterior mean, which is smooth in large holes. With `--fill texture`,
        these are filled with patches of the same image, so that whole objects can be removed.
        Posterior samples have the grain and detail that the mean averages out. In files, the
        uncertainty map is greyscale with 16 bits: its value divided by 256 is half the width of
        a 90 % interval, on the 0–255 scale; outside the hole it is 0. Pixels that are not
        masked come back unchanged.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            mask: The hole: a mask for all images; a folder with one for each, of the same name;
                a pattern for files next to each image, as {stem}_mask.png; or alpha:
                transparent pixels.
            mask_hole: Colour of the hole in the mask. Default: 'white'.
            missing_mask: An image without a mask fails, or is copied unchanged. Default:
                'fail'.
            fill: What parts of the hole that are deeper than 4 pixels are filled with: the
                posterior mean, or patches of the same image. Default: 'mean'.
            grow: Dilate the hole by this radius [0 … 256]. Default: 0.
            feather: Blend from the original to the fill over this width inside the hole [0 …
                256]. Default: 0.0.
            samples: Number of posterior samples to write [0 … 64]. Default: 0.
            uncertainty: Also write a per-pixel uncertainty map. Default: False.
            seed: Random seed of the samples. Default: 0.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """
    @overload
    def inpaint(
        self,
        image: ImageLike,
        mask: MapLike,
        *,
        mask_hole: Literal["white", "black"] = "white",
        missing_mask: Literal["fail", "copy"] = "fail",
        fill: Literal["mean", "texture"] = "mean",
        grow: int = 0,
        feather: float = 0.0,
        samples: int = 0,
        uncertainty: bool = False,
        seed: int = 0,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> Restored[NDArray[Any]]:
        """Fill holes in images: scratches, text, dust and other small damage.

        The result is the posterior mean, which is smooth in large holes. With `--fill texture`,
        these are filled with patches of the same image, so that whole objects can be removed.
        Posterior samples have the grain and detail that the mean averages out. In files, the
        uncertainty map is greyscale with 16 bits: its value divided by 256 is half the width of
        a 90 % interval, on the 0–255 scale; outside the hole it is 0. Pixels that are not
        masked come back unchanged.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            mask: The hole: a mask for all images; a folder with one for each, of the same name;
                a pattern for files next to each image, as {stem}_mask.png; or alpha:
                transparent pixels.
            mask_hole: Colour of the hole in the mask. Default: 'white'.
            missing_mask: An image without a mask fails, or is copied unchanged. Default:
                'fail'.
            fill: What parts of the hole that are deeper than 4 pixels are filled with: the
                posterior mean, or patches of the same image. Default: 'mean'.
            grow: Dilate the hole by this radius [0 … 256]. Default: 0.
            feather: Blend from the original to the fill over this width inside the hole [0 …
                256]. Default: 0.0.
            samples: Number of posterior samples to write [0 … 64]. Default: 0.
            uncertainty: Also write a per-pixel uncertainty map. Default: False.
            seed: Random seed of the samples. Default: 0.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """

    def mask_color(
        self,
        image: ImageLike,
        *,
        color: str = "#ff0000",
        tolerance: float = 20.0,
        key: str = "",
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> NDArray[Any]:
        """The same as mask-colour.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            color: As #ff0000 or #f00, as red, green and blue 255,0,0, or by its CSS name.
                Default: '#ff0000'.
            tolerance: Largest distance in CIELAB (CIE76) [0 … 200]. Default: 20.0.
            key: name of the image, which seeds operations that draw random numbers.
            channel_order: order of the colours of arrays.
        """

    def mask_colour(
        self,
        image: ImageLike,
        *,
        colour: str = "#ff0000",
        tolerance: float = 20.0,
        key: str = "",
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> NDArray[Any]:
        """Detect a colour, such as that of a stamp, a date or a pen.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            colour: As #ff0000 or #f00, as red, green and blue 255,0,0, or by its CSS name.
                Default: '#ff0000'.
            tolerance: Largest distance in CIELAB (CIE76) [0 … 200]. Default: 20.0.
            key: name of the image, which seeds operations that draw random numbers.
            channel_order: order of the colours of arrays.
        """

    def mask_dust(
        self,
        image: ImageLike,
        *,
        size: int = 7,
        contrast: float = 20.0,
        kind: Literal["both", "bright", "dark"] = "both",
        key: str = "",
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> NDArray[Any]:
        """Detect dust: small specks that are brighter or darker than their surroundings.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            size: Largest diameter of a speck [1 … 99]. Default: 7.
            contrast: Least contrast of a speck, on the 0–255 scale [0.5 … 255]. Default: 20.0.
            kind: Specks to detect. Default: 'both'.
            key: name of the image, which seeds operations that draw random numbers.
            channel_order: order of the colours of arrays.
        """

    def mask_scratch(
        self,
        image: ImageLike,
        *,
        width: int = 3,
        length: int = 41,
        contrast: float = 12.0,
        key: str = "",
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> NDArray[Any]:
        """Detect scratches: long thin lines that are brighter or darker than their surroundings.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            width: Largest width of a scratch [1 … 31]. Default: 3.
            length: Least length of a straight segment [5 … 401]. Default: 41.
            contrast: Least contrast of a scratch, on the 0–255 scale [0.5 … 255]. Default:
                12.0.
            key: name of the image, which seeds operations that draw random numbers.
            channel_order: order of the colours of arrays.
        """

    @overload
    def reconstruct(
        self,
        image: ImageLike,
        *,
        sample: bool = False,
        temperature: float = 1.0,
        seed: int = 0,
        towards: None = None,
        steps: int = 8,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> NDArray[Any]:
        """Encode and decode images, or interpolate towards another image.

        The latent is the mode of the posterior, or a sample of it with `sample`. With `towards`
        it moves in equal steps along a straight line from the posterior mean of the image to
        that of the other one, both ends included. Straight lines suit posterior means; samples
        of the prior, which in high dimensions lie near a sphere, would call for great circles
        (White, "Sampling Generative Networks", 2016, arXiv:1609.04468).

        Bit depth, greyscale, alpha, ICC and EXIF are those of the input image throughout.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            sample: Draw from the posterior instead of taking its mode. Default: False.
            temperature: Posterior standard deviations, with --sample [0 … 2]. Default: 1.0.
            seed: Random seed of --sample. Default: 0.
            towards: Interpolate towards this image.
            steps: Number of images, with --towards [2 … 1000]. Default: 8.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """
    @overload
    def reconstruct(
        self,
        image: ImageLike,
        *,
        sample: bool = False,
        temperature: float = 1.0,
        seed: int = 0,
        towards: str | Path | None = None,
        steps: int = 8,
        key: str = "",
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> list[NDArray[Any]]:
        """Encode and decode images, or interpolate towards another image.

        The latent is the mode of the posterior, or a sample of it with `sample`. With `towards`
        it moves in equal steps along a straight line from the posterior mean of the image to
        that of the other one, both ends included. Straight lines suit posterior means; samples
        of the prior, which in high dimensions lie near a sphere, would call for great circles
        (White, "Sampling Generative Networks", 2016, arXiv:1609.04468).

        Bit depth, greyscale, alpha, ICC and EXIF are those of the input image throughout.

        Args:
            image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in
                [0, 1]; or a path or a Pillow image.
            sample: Draw from the posterior instead of taking its mode. Default: False.
            temperature: Posterior standard deviations, with --sample [0 … 2]. Default: 1.0.
            seed: Random seed of --sample. Default: 0.
            towards: Interpolate towards this image.
            steps: Number of images, with --towards [2 … 1000]. Default: 8.
            key: name of the image, which seeds operations that draw random numbers.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """

    def replay(
        self,
        *,
        manifest: str | Path | None = None,
        source: str | Path | None = None,
        model: str | None = None,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> list[bytes]:
        """Recreate the copies listed in a manifest of augment, byte for byte.

        Args:
            manifest: A manifest, or a folder with *_aug.jsonl files.
            source: Folder of the original images.
            model: id of the model, where several fit.
            channel_order: order of the colours of arrays.
        """
