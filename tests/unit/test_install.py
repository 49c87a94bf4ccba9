"""deploy/install.py hands pip's configuration on to uv."""

from deploy.install import uv_variables


def test_settings_of_pip_become_variables_of_uv() -> None:
    configuration = """\
:env:.cert='/etc/ssl/own.pem'
global.cert='/etc/ssl/other.pem'
global.disable-pip-version-check='1'
global.extra-index-url='file:///more'
global.find-links='/wheels\\n/more wheels'
global.index-url='https://user:pass@index.example/simple'
install.proxy='http://proxy.example:3128'
freeze.index-url='https://not.example'
"""
    assert uv_variables(configuration) == {
        "SSL_CERT_FILE": "/etc/ssl/own.pem",  # a variable prevails over a file
        "UV_FIND_LINKS": "/wheels,/more,wheels",  # pip separates them by spaces too
        "UV_DEFAULT_INDEX": "https://user:pass@index.example/simple",
        "ALL_PROXY": "http://proxy.example:3128",
    }


def test_no_settings_give_no_variables() -> None:
    assert uv_variables("") == {}
