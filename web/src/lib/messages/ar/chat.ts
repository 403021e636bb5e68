/** The texts of the chat, in Arabic. */
import type { Chat } from '../en/index.ts'
import { plural } from './plural.ts'

export const chat: Chat = {
  chat: {
    title: 'محادثة',
    status: { live: 'متصل', reconnecting: 'تجري إعادة الاتصال…', connecting: 'يجري الاتصال…' },
    startLead: 'اختر اسمًا عند خادم محادثة. ستسمّي سلسلة توقيعاتك هذا المتصفح جهازًا.',
    server: 'خادم المحادثة',
    handle: 'اسمك هناك',
    register: 'سجّل',
    conversations: 'المحادثات',
    empty: 'لا محادثات بعد.',
    new: 'محادثة جديدة',
    newHandle: 'مع من؟',
    newHint: 'اسم عند خادمك، مثل alice.',
    wanted: (who: string) => `لم تراسل ${who} بعد. ما اسمه على خادم الدردشة الخاص بك؟`,
    wantedOther: 'هذا الاسم لشخص آخر، فلا تحسبه من كنت تبحث عنه.',
    newGroup: 'اسم المجموعة، لأكثر من شخص',
    group: 'مجموعة',
    open: 'افتح',
    unread: (n) => plural(n, 'رسالة غير مقروءة', 'رسالتان غير مقروءتين', '# رسائل غير مقروءة', '# رسالة غير مقروءة', '# رسالة غير مقروءة'),
    me: (handle, server) => `أنت ${handle} عند ${server}`,
    otherTab: 'المحادثة مفتوحة في لسان آخر من هذا المتصفح.',
  },
}
