import pytest

from fpbench.report.words import called

PAGE = """<h1>Attacks on images</h1><p class="images">An image is an image; Images of
<code>an image</code> in image-folder, or an <b>image</b>, <bdi>my images</bdi>.</p>
<th data-group="Images" aria-label="images: table" id="images">Images</th>
<script>const image = "image";</script>"""


def test_pages_of_images_stay_as_they_are():
    assert called(PAGE, "image") == PAGE


@pytest.mark.parametrize(("modality", "noun"), [("audio", "sound"), ("wave", "sample")])
def test_samples_are_called_what_they_are_where_people_read(modality, noun):
    assert (
        called(PAGE, modality)
        == f"""<h1>Attacks on {noun}s</h1><p class="images">A {noun} is a {noun}; {noun.title()}s of
<code>an image</code> in image-folder, or an <b>{noun}</b>, <bdi>my images</bdi>.</p>
<th data-group="{noun.title()}s" aria-label="{noun}s: table" id="images">{noun.title()}s</th>
<script>const image = "image";</script>"""
    )
