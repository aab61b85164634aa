// Runs before the first paint, so that the page doesn't flash in the other colours.
'use strict';
{
  let theme = null;
  try {
    theme = localStorage.getItem('tillbox.theme');
  } catch {
    // A browser that keeps nothing gets what the system says.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
}
