"""A folder of .wav files as log-mel windows; class folders are labels."""

import dataclasses

import numpy as np
from flax import struct

from aejax.base.devices import check_memory
from aejax.base.errors import InputError
from aejax.datasets.cache import kept, own_folder
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.folders import Folder, read_all, refuse_broken
from aejax.settings.fields import static_bool, static_float, static_int, static_str


@struct.dataclass
class Audio:
    """Windows of log-mel spectra as gray images, low frequencies below; conf/data/audio.yaml explains the settings.

    Power is in dB of a full-scale sine. The windows of a file are never in two splits.
    """

    path: str = static_str()
    rate: int = static_int(1000, 192_000)
    bands: int = static_int(1, 1024)
    frames: int = static_int(1, 4096)
    window: int = static_int(16, 2**16)
    hop: int = static_int(1, 2**16)
    floor: float = static_float(-200, -1)
    skip_broken: bool = static_bool()

    def load(self):
        """The Dataset, gray, [N, bands, frames, 1]."""
        folder = Folder.read(self.path, (".wav",))
        key = folder.key(self.rate, self.bands, self.frames, self.window, self.hop, self.floor, self.skip_broken)
        splits, about = kept([own_folder() / key], lambda: self._read(folder))
        groups = np.array(about["groups"], np.int32)
        windows = np.arange(len(groups)) - np.searchsorted(groups, groups)  # from the start of each file
        names = np.array([f"{name}#{window}" for name, window in zip(folder.named(groups), windows, strict=True)])
        train = dataclasses.replace(splits["train"], groups=groups, names=names)
        return Dataset(folder.path.name, "gray", train, label_names=folder.names, warnings=tuple(about["warnings"]))

    def _read(self, folder):
        try:
            import librosa
            import soundfile
        except ImportError:
            raise InputError("data=audio: requires librosa: pip install 'aejax[audio]'") from None
        windows_by_file, broken = read_all(folder.files, lambda path: self._windows(librosa, soundfile, path))
        if broken and not self.skip_broken:
            refuse_broken(folder, broken, "files", "data.path")
        whole = [place for place, windows in enumerate(windows_by_file) if windows is not None]
        if not whole:
            raise InputError(f"data.path={folder.path}: none of its files can be read")
        groups = np.repeat(whole, [len(windows_by_file[place]) for place in whole])
        labels = None if folder.labels is None else folder.labels[groups]
        warnings = [f"{len(broken)} of {len(folder.files)} files cannot be read and are left out"] if broken else []
        x = np.concatenate([windows_by_file[place] for place in whole])
        return {"train": Split(x, labels)}, {"groups": groups.tolist(), "warnings": warnings}

    def _windows(self, librosa, soundfile, path):
        """The windows of a file, uint8 [N, bands, frames, 1]; an incomplete one at the end is left out."""
        try:
            header = soundfile.info(path)
            check_memory(4 * header.frames * header.channels, f"{path}: as float32", "shorter")
            samples_TxC, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise OSError(str(error)) from None
        if not len(samples_TxC):
            return None
        samples = librosa.resample(samples_TxC.mean(axis=1), orig_sr=rate, target_sr=self.rate)
        short = self.window + (self.frames - 1) * self.hop - len(samples)
        samples = np.pad(samples, (0, max(short, 0)))  # a file that is shorter than one window ends in silence
        sine = (librosa.filters.get_window("hann", self.window).sum() / 2) ** 2
        power_BxT = librosa.feature.melspectrogram(
            y=samples, sr=self.rate, n_fft=self.window, hop_length=self.hop, n_mels=self.bands, center=False, norm=None
        )
        decibels_BxT = librosa.power_to_db(power_BxT, ref=sine, amin=1e-20, top_db=None)
        gray_BxT = np.round(255 * np.clip(1 - decibels_BxT / self.floor, 0, 1)).astype(np.uint8)[::-1]
        count = gray_BxT.shape[1] // self.frames
        windows = gray_BxT[:, : count * self.frames].reshape(self.bands, count, self.frames)
        return windows.transpose(1, 0, 2)[..., None]
