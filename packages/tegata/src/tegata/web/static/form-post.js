// Sends the authorization response at once. Plain old JavaScript, so that every browser runs it; where none runs, the
// person presses the button. A file and not an inline script, so that the page's policy stays at script-src 'self'.
document.getElementById("form-post").submit();
