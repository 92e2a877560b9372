"""Scores of predicted frames by horizon: MSE per pixel, PSNR and SSIM, over all pixels and over those that move."""

import torch
from jaxtyping import Float
from torch import Tensor

MOVING_CHANGE = 0.1  # a pixel moves where a channel differs by more than this from the last past frame
MIN_MSE = 1e-12  # keeps the PSNR of a perfect prediction finite: 120 dB


class FrameScore:
    """Accumulates squared errors of frames in [0, 1]; `result()` divides once at the end."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # (T,) each

    def update(
        self,
        prediction: Float[Tensor, "B T C H W"],
        target: Float[Tensor, "B T C H W"],
        last_past: Float[Tensor, "B C H W"],
    ) -> None:
        """Add the forecasts of B clips.

        prediction, target: in [0, 1]; values of the prediction outside are clipped
        last_past: the last past frame, in [0, 1]
        Raises ValueError for different shapes.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
        # here, because the import takes two seconds
        from torchmetrics.functional.image import structural_similarity_index_measure

        prediction = prediction.float().clamp(0, 1)
        squared = (prediction - target).square()  # (B, T, C, H, W)
        moving = ((target - last_past[:, None]).abs() > MOVING_CHANGE).any(dim=2, keepdim=True).expand_as(squared)
        similarity = structural_similarity_index_measure(
            prediction.flatten(0, 1), target.flatten(0, 1), data_range=1.0, reduction="none"
        )
        assert isinstance(similarity, Tensor)
        similarity = similarity.reshape(squared.shape[:2])  # (B, T)
        sums = {
            "squared": squared.double().sum((0, 2, 3, 4)),
            "pixels": torch.full((squared.shape[1],), squared[:, 0].numel(), dtype=torch.float64),
            "squared_moving": (squared * moving).double().sum((0, 2, 3, 4)),
            "pixels_moving": moving.double().sum((0, 2, 3, 4)),
            "similarity": similarity.double().sum(0),
            "frames": torch.full((squared.shape[1],), len(squared), dtype=torch.float64),
        }
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0) + value.cpu()

    def result(self) -> dict[str, list[float]]:
        """One value per horizon (1 frame ahead first): `mse_per_pixel`, `mse_moving`, `psnr_db`, `ssim`.

        `mse_moving` counts only pixels that move and is NaN at a horizon where none does. The PSNR is computed from the
        MSE over the whole split. Raises ValueError before the first update.
        """
        if not self._sums:
            raise ValueError("no frames were scored")
        sums = self._sums
        mse = sums["squared"] / sums["pixels"]
        return {
            "mse_per_pixel": mse.tolist(),
            "mse_moving": (sums["squared_moving"] / sums["pixels_moving"]).tolist(),
            "psnr_db": (-10 * mse.clamp_min(MIN_MSE).log10()).tolist(),
            "ssim": (sums["similarity"] / sums["frames"]).tolist(),
        }
