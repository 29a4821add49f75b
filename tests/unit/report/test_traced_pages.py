"""The pages of a trace speak of what was handed in."""

from fpbench.report.tracing import served_form


def test_a_desk_for_sounds_asks_for_sounds():
    page = served_form("audio", 64, 16, "image.wav: expected a sound")
    assert "Whom do sounds lead to?" in page
    assert 'accept="audio/*"' in page
    assert "Up to 64 sounds" in page
    assert "image.wav: expected a sound" in page  # a file's own name stays
    assert 'name="image"' in page  # the field of the form is the same


def test_a_desk_for_images_asks_for_images():
    page = served_form("image", 64, 16)
    assert "Whom do images lead to?" in page
    assert 'accept="image/*"' in page
