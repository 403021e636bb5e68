// Before anything is drawn: the language's direction, and the theme that was chosen.
{
  const settings = JSON.parse(localStorage.getItem('kez:settings') ?? '{}')
  const language = settings.language ?? (navigator.language.startsWith('ar') ? 'ar' : 'en')
  document.documentElement.lang = language
  document.documentElement.dir = language === 'ar' ? 'rtl' : 'ltr'
  if (settings.theme === 'light' || settings.theme === 'dark') document.documentElement.dataset.theme = settings.theme
}
