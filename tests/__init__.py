from tests import checking as checking  # so that the import hook finds tests.checking.checked
