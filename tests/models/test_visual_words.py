"""Visual words: patches put back make the image, k-means finds planted patches, and a word shows what it stands for."""

import pytest
import torch

from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.models.visual_words import VisualWords, fit_words, patches

BARS = torch.zeros(3, 4, 4, dtype=torch.uint8)
BARS[1, :, :2], BARS[2, :2] = 200, 255
"""Blank, left half, upper half."""


def test_patches_are_cut_line_by_line():
    image = torch.arange(64, dtype=torch.uint8).view(1, 8, 8)
    cut = patches(image, 4)
    assert cut.shape == (1, 4, 4, 4)
    assert torch.equal(cut[0, 1], image[0, :4, 4:]) and torch.equal(cut[0, 2], image[0, 4:, :4])


def test_every_patch_gets_its_nearest_word_behind_the_class_token():
    words = VisualWords(BARS)
    image = torch.cat([torch.cat([BARS[1], BARS[0]], 1), torch.cat([BARS[2], BARS[1]], 1)])
    noisy = (image.int() + torch.tensor([0, 9]).repeat(8, 4)).clamp(0, 255).to(torch.uint8)
    assert words.tokens(torch.stack([image, noisy])).tolist() == [[3, 1, 0, 2, 1]] * 2


def test_planted_patches_are_found_again_from_dark_to_bright_whatever_the_seed():
    order = torch.randint(0, 3, (30, 4), generator=torch.Generator().manual_seed(1))
    grid = BARS[order].view(30, 2, 2, 4, 4).permute(0, 1, 3, 2, 4).reshape(30, 8, 8)
    for seed in range(3):
        assert torch.equal(fit_words(grid, patch_size=4, n_words=3, seed=seed).patches_VPP, BARS)


def test_a_word_lies_in_the_middle_of_the_patches_that_it_stands_for():
    flat = torch.tensor([10, 20, 200, 220], dtype=torch.uint8).view(4, 1, 1).expand(4, 4, 4).contiguous()
    found = fit_words(flat, patch_size=4, n_words=2, seed=0)
    assert found.patches_VPP[:, 0, 0].tolist() == [15, 210]


def test_the_same_seed_gives_the_same_words_and_files_keep_them(tmp_path):
    images = torch.randint(0, 256, (20, 8, 8), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    first, second = (fit_words(images, patch_size=4, n_words=9, seed=5) for _ in range(2))
    assert first.sha256 == second.sha256
    first.save(tmp_path / "words.safetensors")
    assert VisualWords.load(tmp_path / "words.safetensors").sha256 == first.sha256


def test_a_word_is_shown_as_the_dots_of_its_patch():
    words = VisualWords(BARS)
    assert [piece.decode() for piece in words.pieces()] == ["⠀⠀", "⣿⠀", "⠛⠛", "<class>"]
    assert words.drawn([3, 1, 0, 2, 1]) == "⣿⠀⠀⠀\n⠛⠛⣿⠀"


def test_larger_patches_are_shown_with_as_many_dots():
    large = BARS[:, :, :].repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert VisualWords(large).pieces() == VisualWords(BARS).pieces()


def test_what_makes_no_words_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not filled by patches of 3"):
        patches(torch.zeros(1, 8, 8, dtype=torch.uint8), 3)
    with pytest.raises(ConfigError, match="expected 1 to 1"):
        fit_words(torch.zeros(5, 8, 8, dtype=torch.uint8), patch_size=4, n_words=2, seed=0)
    with pytest.raises(ConfigError, match="no square image"):
        VisualWords(BARS).drawn([3, 1, 0])
    (tmp_path / "words.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="cannot be read as visual words"):
        VisualWords.load(tmp_path / "words.safetensors")
